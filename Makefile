# Everything that is done to this source tree. `make` alone lists it.

.DEFAULT_GOAL := help
SHELL := /bin/bash

# Go is often installed without a place in PATH, and CI may know no home.
GO := $(or $(shell command -v go),/usr/local/go/bin/go)
export PATH := $(PATH):$(dir $(GO))
export HOME ?= $(shell getent passwd $$(id -u) | cut -d: -f6)

# The commit names the build; "dirty" tells that the tree has changes.
BUILD := $(or $(shell git describe --always --dirty --abbrev=7 --exclude '*' 2>/dev/null),dev)
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false \
	-ldflags "-buildid= -X github.com/backstay/backstay/version.Build=$(BUILD)"

export DIR QUICKSTART_FLAGS SCALE RUNS DURATION LOGINS DEVICES DATABASE

.PHONY: help
help: ## list the targets
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: quickstart
quickstart: folder-named build ## back up DIR=/some/folder on this machine, restore it, compare, keep serving; QUICKSTART_FLAGS=--exit ends it then
	@exec bin/backstay-server quickstart $$QUICKSTART_FLAGS "$$DIR"

.PHONY: folder-named
folder-named:
	@[ -n "$$DIR" ] || { echo 'Say which folder: make quickstart DIR=/some/folder' >&2; exit 2; }

.PHONY: build
build: assets ## bin/backstay, bin/backstay-server and bin/backstay-tray
	@$(GOBUILD) -o bin/ ./cmd/backstay ./cmd/backstay-server ./cmd/backstay-tray

# npm's files change only with these; a vendor folder that somebody removed is made again.
ASSETS := web/node_modules/.assets
.PHONY: assets
assets: $(ASSETS) ## fetch what the pages show, when it has changed
$(ASSETS): web/package.json web/package-lock.json web/assets.mjs web/icons.txt $(if $(and $(wildcard web/static/vendor/*),$(wildcard server/passwords/common.txt.gz)),,again)
	@scripts/need assets
	@cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && node assets.mjs
	@touch $@
.PHONY: again
again:

# nfpm is pinned like every module.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
VERSION ?= $(shell sed -n 's/^\t\(Version\|Release\) *= *//p' version/version.go | paste -sd.).0
.PHONY: packages
packages: build ## bin/*.deb and bin/*.rpm, for VERSION
	@for name in backstay backstay-server; do for kind in deb rpm; do \
		VERSION=$(VERSION) GOARCH=$$($(GO) env GOARCH) BIN=bin \
			$(GO) run $(NFPM) package --config packaging/$$name.yaml --packager $$kind --target bin/ || exit; \
	done; done

.PHONY: clients
clients: packages msi ## all clients: the packages, and bin/backstay_darwin_ARCH for macOS
	@for arch in arm64 amd64; do \
		GOOS=darwin GOARCH=$$arch $(GOBUILD) -o bin/backstay_darwin_$$arch ./cmd/backstay || exit; \
	done

# A program that opens no window of its own still gets a black one, unless it says so.
.PHONY: msi
msi: assets ## bin/*.msi, the client's packages for Windows, for VERSION
	@scripts/need msi
	@for arch in amd64 arm64; do to=bin/windows-$$arch && \
		GOOS=windows GOARCH=$$arch $(GOBUILD) -o $$to/ ./cmd/backstay && \
		GOOS=windows GOARCH=$$arch $(subst "-buildid=,"-H=windowsgui -buildid=,$(GOBUILD)) -o $$to/ ./cmd/backstay-tray && \
		$(GO) run ./scripts/icon $$to/backstay.ico && \
		packaging/msi.sh $(VERSION) $$arch $$to bin/backstay_$(VERSION)_$$arch.msi || exit; \
	done

.PHONY: test
test: ## run every test, on SQLite and on PostgreSQL; PKGS=./server/... for some packages only
	@scripts/need test
	@$(MAKE) --no-print-directory build
	@$(GO) build -o bin/testall ./scripts/testall && exec bin/testall $(PKGS)

.PHONY: bench
bench: ## measure beside restic and borg; SCALE=1 is full size, RUNS=3
	@scripts/need bench || echo 'Measuring without what is missing.'
	@$(MAKE) --no-print-directory build
	@$(GO) build -o bin/bench ./scripts/bench && exec bin/bench

.PHONY: load
load: build ## measure pages and memory while 100 people log in at once; DURATION=15, LOGINS=100
	@$(GO) build -o bin/load ./scripts/load && exec bin/load

.PHONY: torture
torture: build ## measure ten thousand computers that wait, on both databases; DEVICES=10000, DURATION=60, DATABASE=sqlite or postgres for one
	@$(GO) build -o bin/torture ./scripts/torture && exec bin/torture

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin bench-output web/node_modules web/static/vendor server/passwords/common.txt.gz
