# `make ipk`: as much of OpenWrt's build system as the recipes beside this folder use, so that the very same
# recipes make packages where no SDK can be had. TOPDIR is this folder; the results go to BIN_DIR.
# Given by who calls: TOPDIR, BIN_DIR, BUILD_DIR, SOURCE_DATE_EPOCH.

INCLUDE_DIR := $(TOPDIR)
PKG_BUILD_DIR = $(BUILD_DIR)/$(PKG_NAME)
PKG_INSTALL_DIR = $(PKG_BUILD_DIR)/ipkg-install

INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_DATA := install -m0644
INSTALL_CONF := install -m0600
CP := cp -fpR

empty :=
space := $(empty) $(empty)
comma := ,

# Packages come from one makefile at a time, one after the other.
.NOTPARALLEL:
.DELETE_ON_ERROR:
SHELL := /bin/sh

all: packages
