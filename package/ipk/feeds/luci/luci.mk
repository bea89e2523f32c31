# What luci.mk makes of an application in JavaScript: one package with htdocs/ in /www and root/ in /, and one for each
# language in po/ with its .lmo. The JavaScript stays as it is written, where the SDK strips it of comments and spaces.

LUCI_NAME := $(notdir $(CURDIR))
LUCI_BASENAME := $(patsubst luci-app-%,%,$(LUCI_NAME))
LUCI_LANGUAGES := $(sort $(filter-out templates,$(notdir $(wildcard $(CURDIR)/po/*))))
LUCI_LANG.es := Español (Spanish)

PKG_NAME := $(LUCI_NAME)

include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  CATEGORY:=LuCI
  SUBMENU:=3. Applications
  TITLE:=$(LUCI_TITLE)
  URL:=$(LUCI_URL)
  DEPENDS:=$(LUCI_DEPENDS)
endef

define Package/$(PKG_NAME)/description
  $(LUCI_DESCRIPTION)
endef

# Git keeps no other modes than these two, but the umask of who cloned does.
define Package/$(PKG_NAME)/install
	$(INSTALL_DIR) $(1)/www
	$(CP) $(CURDIR)/htdocs/. $(1)/www
	$(CP) $(CURDIR)/root/. $(1)
	chmod -R u=rwX,go=rX $(1)
endef

# LuCI keeps menus and translations, rpcd who may do what, until they are told.
define Package/$(PKG_NAME)/postinst
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	/etc/init.d/rpcd reload 2>/dev/null
	exit 0
}
endef

# $(1): a language
define Translation
define Package/luci-i18n-$(LUCI_BASENAME)-$(1)
  SECTION:=luci
  CATEGORY:=LuCI
  TITLE:=$(PKG_NAME) - $(1) translation
  DEPENDS:=$(PKG_NAME)
  VERSION:=$(PKG_PO_VERSION)
endef

define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/description
  Translation for $(PKG_NAME) - $(LUCI_LANG.$(1))
endef

define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/install
	$$(INSTALL_DIR) $$(1)/etc/uci-defaults $$(1)/usr/lib/lua/luci/i18n
	echo "uci set luci.languages.$(1)='$(LUCI_LANG.$(1))'; uci commit luci" \
		> $$(1)/etc/uci-defaults/luci-i18n-$(LUCI_BASENAME)-$(1)
	$(foreach po,$(wildcard $(CURDIR)/po/$(1)/*.po),$$(PYTHON) $(TOPDIR)/feeds/luci/po2lmo.py $(po) \
		$$(1)/usr/lib/lua/luci/i18n/$(basename $(notdir $(po))).$(1).lmo &&) true
	chmod -R u=rwX,go=rX $$(1)
endef
endef

$(foreach language,$(LUCI_LANGUAGES),$(eval $(call Translation,$(language))))
$(foreach package,$(LUCI_NAME) $(LUCI_LANGUAGES:%=luci-i18n-$(LUCI_BASENAME)-%),$(eval $(call BuildPackage,$(package))))
