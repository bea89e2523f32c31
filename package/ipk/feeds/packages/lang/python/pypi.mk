# A library of the Python Package Index: by name, version and sum, through pip.

define requirement
$(PYPI_NAME)==$(PKG_VERSION) --hash=sha256:$(PKG_HASH)
endef
