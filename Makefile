# Two commands matter: `make demo` shows it at work, `make test` runs every test. Both do their own set-up.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test bench bundle lint fmt doc

CARGO ?= cargo
DATA ?= ../data
# Fixed, so that the same data gives the same bytes.
BUNDLE_FLAGS := --name node-exporter --step 60s --type forecast --predict change --layers 1 --hidden 32 --window 60 --steps 1500 \
  --batch 64 --seed 1 --learning-rate 0.002 --vary 0.3 --held-back-hosts 0.0 --held-back-time 0.1

# The library that `make setup` fetches, unless the caller brings one.
ifndef ORT_DYLIB_PATH
export ORT_DYLIB_PATH := $(CURDIR)/.outlierd/onnxruntime/libonnxruntime.so
GET_ONNXRUNTIME := scripts/get-onnxruntime.sh
else
GET_ONNXRUNTIME := echo "ONNX Runtime: $(ORT_DYLIB_PATH), as ORT_DYLIB_PATH says"
endif

help: ## Shows this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1~\2/p' Makefile | column -t -s '~'

setup: ## Fetches the ONNX Runtime library (pinned, checked)
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing. On Debian and Ubuntu: apt-get install gcc libc6-dev" >&2; exit 1; }
	@$(GET_ONNXRUNTIME)

demo: setup ## Builds, starts the service and a simulated fleet, injects faults, says what was found
	@$(CARGO) run --release --locked --bin outlierd -- demo $(DEMO_FLAGS)

test: setup ## Runs every test
ifeq ($(CI),true)
	@scripts/peers.sh --ci
	$(CARGO) test --locked
else
	@mkdir -p .outlierd
	@scripts/peers.sh | tee .outlierd/peers.log
	$(CARGO) test --locked
	@if grep -q MISSING .outlierd/peers.log; then \
	  printf '\n%s\n' '*** LEFT OUT: the tests that need these programs:'; \
	  sed -n 's/^peers: \(.*\)MISSING: /***   \1/p' .outlierd/peers.log; \
	  echo '*** Everything else ran. scripts/peers.sh tries again.'; \
	fi
endif

bench: setup ## Runs the benchmarks
	$(CARGO) bench --locked

bundle: ## Trains the shipped model from DATA, a folder that holds smd/machine-*.npz
	$(CARGO) run --release --locked --bin outlierd -- train --from $(DATA)/smd $(BUNDLE_FLAGS) --output models/node-exporter.onnx

lint: ## Checks the format, runs clippy, builds the documentation; warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --no-deps

fmt: ## Formats the sources
	$(CARGO) fmt

doc: ## Builds the documentation of the sources
	$(CARGO) doc --locked --no-deps
