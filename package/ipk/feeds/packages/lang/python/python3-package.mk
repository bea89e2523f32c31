# Py3Package, for libraries in pure Python. Given by who calls: PYTHON, an interpreter with pip. As with the SDK
# the package has byte code, bound to that Python version, and another one with the sources.

PYTHON3_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
PYTHON3_PKG_DIR := /usr/lib/python$(PYTHON3_VERSION)/site-packages

define Build/Compile
	rm -rf $(PKG_BUILD_DIR) && mkdir -p $(PKG_INSTALL_DIR)
	echo '$(requirement)' > $(PKG_BUILD_DIR)/requirement
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --ignore-installed \
		--no-deps --no-compile --no-binary $(PYPI_NAME) --require-hashes -r $(PKG_BUILD_DIR)/requirement \
		--root $(PKG_INSTALL_DIR) --prefix /usr
endef

# (package, folder): what a filespec keeps: `+|path` goes in, `-|path` is left out again.
define install_filespec
	$(foreach line,$(filter +|%,$(Py3Package/$(1)/filespec)),\
		$(INSTALL_DIR) $(2)$(patsubst +|%,%,$(line)) && \
		$(CP) $(PKG_INSTALL_DIR)$(patsubst +|%,%,$(line))/. $(2)$(patsubst +|%,%,$(line)) &&) true
	$(foreach line,$(filter -|%,$(Py3Package/$(1)/filespec)),rm -rf $(2)$(patsubst -|%,%,$(line)) &&) true
endef

define Py3Package
define Package/$(1)-src
$(Package/$(1))
  DEPENDS:=
  TITLE+= (sources)
endef

define Package/$(1)-src/description
$(Package/$(1)/description)
  This package contains the sources.
endef

define Package/$(1)/install
	$$(call install_filespec,$(1),$$(1))
	PYTHONHASHSEED=0 $(PYTHON) -m compileall -q -b -d / --invalidation-mode checked-hash $$(1)$(PYTHON3_PKG_DIR)
	find $$(1) -name '*.py' -delete
endef

define Package/$(1)-src/install
	$$(call install_filespec,$(1),$$(1))
	find $$(1) -type f ! -name '*.py' -delete
	find $$(1) -type d -empty -delete
endef
endef
