# Everything a newcomer or CI runs. `make help` lists it.

CARGO ?= cargo
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-kubernetes test test-kubernetes interop bench lint fuzz packages

# Where Cargo builds: CARGO_TARGET_DIR when set, target/ otherwise.
TARGET := $(or $(CARGO_TARGET_DIR),target)

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: packages ## Clients, router, balancer and backends in namespaces, with real traffic (DEMO_SECONDS=8: short)
	$(CARGO) build --release --locked -p maglane -p maglane-perf --bins
	exec $(TARGET)/release/maglane-rig demo

demo-kubernetes: packages ## The same with a kube-apiserver (where test-kubernetes looks for it) (TROUBLE_SECONDS=10)
	$(CARGO) build --release --locked -p maglane -p maglane-perf --bins
	exec $(TARGET)/release/maglane-rig demo-kubernetes

test: ## Every check: lint, unit to model tests, loom, fuzz, end to end in namespaces, a short demo
	@.ci/test

test-kubernetes: packages ## Tests against a kube-apiserver (in $KUBEBUILDER_ASSETS, /usr/local/kubebuilder/bin or $PATH), else its double
	$(CARGO) build --locked -p maglane -p maglane-perf --bins
	$(CARGO) test --locked -p maglane-perf --test cluster
	$(CARGO) test --locked -p maglane --test e2e_traffic kubernetes -- --test-threads=1 --nocapture

interop: packages ## BGP against FRR, BIRD, GoBGP and OpenBGPD in namespaces: a line a daemon and case
	$(CARGO) test --locked -p maglane-bgp --test interop -- --nocapture

bench: packages ## Criterion benches of the packet path (the end-to-end comparison is perf/e2e.sh)
	$(CARGO) bench --locked -p maglane-benches

lint: packages ## rustfmt, clippy with warnings denied, cargo-deny where installed
	@.ci/lint

fuzz: packages ## A short run of every fuzz target (FUZZ_SECONDS each, default 20; nightly and cargo-fuzz needed)
	@.ci/fuzz || [ $$? -eq 77 ]

packages: ## Install the system packages that are missing
	@.ci/packages
