# Everything is run from here; CI calls the same targets (.ci/run).
# Nothing but Python 3.11 or newer is needed, and no root: `.venv` is made on first use.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --no-compile --no-deps
PYTHON ?=
ARGS ?=
ADVISORIES ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup run test check format bench screenshots lock sbom audit bundle clean

help: ## Say what can be made
	@echo "OnePerson. Targets (options in ARGS, e.g. make test ARGS='-k quality'):"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

setup: $(VENV)/run.stamp ## Make .venv with what the service needs, and the command 'oneperson'

run: $(VENV)/run.stamp ## Start the demo: a fresh registry, one transaction checked, the pages up
	@$(BIN)/oneperson demo $(ARGS)

# Two workers with one thread each use two processors best. Hundreds of databases come
# and go, so temporary files are kept in memory where there is room, and removed after.
test: $(VENV)/dev.stamp ## Run all tests; what cannot run here is listed as skipped
	@room=$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $$4 }'); \
	if [ "$${room:-0}" -gt 4000000 ] && [ -w /dev/shm ]; then parent=/dev/shm; else parent=$${TMPDIR:-/tmp}; fi; \
	TMPDIR=$$(mktemp -d "$$parent/oneperson-test-XXXXXX") && chmod 711 "$$TMPDIR" && export TMPDIR && \
	trap 'rm -rf "$$TMPDIR"' EXIT INT TERM; \
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(VENV)/dev.stamp ## Lint, check formatting, types, import directions and the lock files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if grep -n '://' requirements*.lock; then echo "a lock file holds an address" >&2; exit 1; fi
	@if [ -n "$(ADVISORIES)" ]; then $(BIN)/python -m scripts.advisories "$(ADVISORIES)"; fi

format: $(VENV)/dev.stamp ## Format the source
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/run.stamp ## Measure searching, encoding and checks on this machine
	$(BIN)/oneperson benchmark search $(ARGS)

screenshots: $(VENV)/dev.stamp ## Make pictures of every page under build/screenshots (ARGS=--guide: docs/pictures)
	$(BIN)/python -m tests.functional.screenshots $(ARGS)

lock: $(VENV)/dev.stamp ## Rewrite the lock files (ARGS=NAME: move only that package)
	./scripts/lock.sh $(ARGS)

sbom: $(VENV)/dev.stamp ## Write the bill of materials (CycloneDX 1.6) to build/sbom.cdx.json
	@mkdir -p build
	@$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml \
	  --short-PURLs --output-reproducible --sv 1.6 -o build/packages.cdx.json
	@$(BIN)/python -m scripts.sbom build/sbom.cdx.json < build/packages.cdx.json

# Needs no network: carry a copy of the advisories (OSV, ecosystem PyPI) to where it runs.
audit: $(VENV)/run.stamp ## Compare the lock files with known vulnerabilities (ARGS=copy of the advisories)
	@$(BIN)/python -m scripts.advisories $(ARGS)

bundle: $(VENV)/run.stamp ## Write build/oneperson-….tar, from which a machine without a network is installed
	@./scripts/bundle.sh

clean: ## Remove what was built here; the data in var/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find index service scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A candidate is tried, not only looked up: version managers put shims on the
# path for versions that are not switched on, and Debian splits off ensurepip.
$(VENV)/pyvenv.cfg:
	@for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$("$$candidate" --version)"; \
	    "$$candidate" -m venv $(VENV) && exit 0; \
	    rm -rf $(VENV); exit 1; \
	  fi; \
	done; \
	echo "No usable Python 3.11 or newer was found. Install one with its venv module" >&2; \
	echo "(Debian, Ubuntu: apt-get install python3-venv), or name one: make PYTHON=/path/to/python3.12" >&2; \
	exit 1

$(VENV)/run.stamp: $(VENV)/pyvenv.cfg requirements.lock requirements-build.lock pyproject.toml
	@echo "installing what requirements.lock names (half a minute)"
	@$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/pyvenv.cfg requirements-dev.lock requirements-build.lock pyproject.toml
	@echo "installing what requirements-dev.lock names (a minute)"
	@$(PIP) --require-hashes -r requirements-dev.lock -r requirements-build.lock
	@$(PIP) --no-build-isolation -e .
	@touch $(VENV)/run.stamp $@
