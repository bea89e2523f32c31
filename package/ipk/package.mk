# BuildPackage: from the definitions of a recipe to an .ipk, as OpenWrt's package-pack.mk and ipkg-build do.

FIELDS := SECTION URL DEPENDS CONFLICTS PROVIDES VERSION PKGARCH

define Package/Default
  $(foreach field,$(FIELDS) CATEGORY SUBMENU TITLE VARIANT DEFAULT_VARIANT,$(field):=$(newline))
  VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE)
  PKGARCH:=all
endef

define newline


endef

# `+name` is installed with the package, `@name` is for the configuration of an image; all need libc.
depends = libc $(patsubst +%,%,$(filter-out @%,$(1)))
list = $(subst $(space),$(comma)$(space),$(strip $(1)))
field = $(if $(strip $(2)),$(1): $(strip $(2))$(newline))

control = Package: $(1)$(newline)Version: $($(1)/VERSION)$(newline)$(call \
	field,Depends,$(call list,$(call depends,$($(1)/DEPENDS))))$(call \
	field,Conflicts,$(call list,$($(1)/CONFLICTS)))$(call \
	field,Provides,$(call list,$($(1)/PROVIDES)))$(call \
	field,Source,package/$(PKG_NAME))$(call \
	field,SourceName,$(PKG_NAME))$(call \
	field,License,$(PKG_LICENSE))$(call \
	field,LicenseFiles,$(PKG_LICENSE_FILES))$(call \
	field,Section,$($(1)/SECTION))$(call \
	field,SourceDateEpoch,$(SOURCE_DATE_EPOCH))$(call \
	field,URL,$($(1)/URL))$(call \
	field,Maintainer,$(PKG_MAINTAINER))$(call \
	field,Architecture,$($(1)/PKGARCH))Installed-Size: @SIZE@

define script
#!/bin/sh
$(if $(filter postinst,$(1)),[ "$${IPKG_NO_SCRIPT}" = "1" ] && exit 0$(newline))[ -s $${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. $${IPKG_INSTROOT}/lib/functions.sh
default_$(1) $$0 $$@
endef

# (variable or function, its argument, file)
write = $(file >$(3),$(call $(1),$(2)))

# $(1): a package
define BuildPackage
$(eval $(Package/Default))
$(eval $(Package/$(1)))
$(foreach field,$(FIELDS),$(eval $(1)/$(field) := $($(field))))
packages: $(1)
$(1) $(1)/folders: root := $(PKG_BUILD_DIR)/$(1)
$(1)/folders: compile
	rm -rf $$(root)
	mkdir -p $$(root)/data $$(root)/control $(BIN_DIR)
$(1): $(1)/folders
	$(call Package/$(1)/install,$$(root)/data)
	$$(call write,control,$(1),$$(root)/control/control)
	$$(call write,Package/$(1)/description,,$$(root)/description)
	$$(call write,script,postinst,$$(root)/control/postinst)
	$$(call write,script,prerm,$$(root)/control/prerm)
	$$(foreach part,conffiles preinst postrm,$$(if $$(Package/$(1)/$$(part)),$$(call write,Package/$(1)/$$(part),,$$(root)/control/$$(part))))
	$$(foreach part,postinst prerm,$$(if $$(Package/$(1)/$$(part)),$$(call write,Package/$(1)/$$(part),,$$(root)/control/$$(part)-pkg)))
	$(TOPDIR)/pack $$(root) $(BIN_DIR)/$(1)_$($(1)/VERSION)_$($(1)/PKGARCH).ipk
.PHONY: $(1) $(1)/folders
endef

compile:
	$(Build/Compile)

.PHONY: all compile packages
