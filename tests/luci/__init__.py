"""The browser tests of package/luci-app-bgpmesh."""
