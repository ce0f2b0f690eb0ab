# make up      start the platform (the first run sets it up)      PORT=4566 HOST=127.0.0.1 DATA_DIR=.lambent
# make test    every test but the long ones                     make check   format, lint, types, contracts
# make demo    a function from a folder, invoked, its picture     make dev     the development set-up only
# make bench   the figures                                        make test-long  hundred-fold kills, matrices
# make scale   the curves, up to 1,000 of everything              make soak    ten minutes of mixed load
# make docs    the generated reference pages                  make proof   which test and which runtime shows what

PORT ?= 4566
HOST ?= 127.0.0.1
DATA_DIR ?= .lambent

BIN := .venv/bin
# The first of these that is 3.11 or later.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.DEFAULT_GOAL := help
.PHONY: help up test test-long demo dev check bench scale soak docs proof clean system-packages

help:
	@sed -n 's/^# \(make.*\)/\1/p' Makefile

# Nothing but a comparison of dates on later runs.
.venv/.stamp: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or later is needed; none is on PATH." >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv .venv || { \
		echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@$(BIN)/python -m compileall -q src/lambent  # as an installed package is; a start takes a third longer without
	@touch $@

.venv/.stamp-dev: .venv/.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

up: .venv/.stamp
	@exec $(BIN)/lambent up --host $(HOST) --port $(PORT) --data-dir $(DATA_DIR)

dev: .venv/.stamp-dev
	@echo "ready: $(BIN)/lambent"

demo: .venv/.stamp
	@$(BIN)/python examples/thumbnails/demo.py

# What tests need of the system: strace shows the order of fsyncs; Go, Rust and AWS's client for Node.js are built;
# functions go out by nftables and pasta.
system-packages:
	@missing=; command -v strace >/dev/null || missing=strace; \
	command -v go >/dev/null || missing="$$missing golang-go"; command -v cargo >/dev/null || missing="$$missing cargo"; \
	command -v autoreconf >/dev/null || missing="$$missing autoconf automake libtool"; \
	command -v cmake >/dev/null || missing="$$missing cmake g++"; \
	command -v nft >/dev/null || missing="$$missing nftables"; command -v pasta >/dev/null || missing="$$missing passt"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; fi

test: .venv/.stamp-dev system-packages
	$(BIN)/pytest -m "not long" -n auto --dist loadfile $(ARGS)

test-long: .venv/.stamp-dev system-packages
	$(BIN)/pytest -m long -n auto --dist loadfile $(ARGS)

check: .venv/.stamp-dev
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/ruff check src tests bench examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/tidy -q

bench: .venv/.stamp-dev
	$(BIN)/python bench/run.py $(ARGS)

scale: .venv/.stamp-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python bench/scale.py $(ARGS)

soak: .venv/.stamp-dev
	$(BIN)/python bench/soak.py $(ARGS)

docs: .venv/.stamp
	$(BIN)/python docs/make_reference.py

# A few minutes: the tests that call Lambda, one after the other, and what each was answered.
proof: .venv/.stamp-dev system-packages
	$(BIN)/pytest -q -m "not long" tests/unit/services/lambda_ tests/node/lambda_ --proof docs/reference/lambda.json
	$(BIN)/pytest -q -m "not long" tests/unit/services/sns tests/node/sns --proof docs/reference/sns.json
	$(BIN)/pytest -q -m "not long" tests/unit/services/sqs --proof docs/reference/sqs.json
	$(BIN)/pytest -q tests/node/runtimes/test_every_runtime.py --behaviours docs/reference/runtimes.json
	$(BIN)/python docs/make_reference.py

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench examples -name __pycache__ -prune -exec rm -rf {} +
