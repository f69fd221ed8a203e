# Everything that `make lab` and `make test` need, they set up themselves. Root is needed where system packages are
# missing: `setup-system` installs them with apt, and says which.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 1
N ?= 10
INPUTS ?= 1000000
FUZZ ?= 3600

.DEFAULT_GOAL := help
.PHONY: help setup setup-system lab test lint unit workers torture relock wheel clean

help: ## Show this help.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup-system: ## Install the system packages that are missing (apt; root).
	@bash tools/system-packages.sh

setup: setup-system $(VENV)/.done ## Make .venv with strongroom in it.

$(VENV)/.done: pyproject.toml requirements.lock
	@echo "[setup] Python packages into $(VENV), pinned by requirements.lock"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lab: setup ## Start a test host on this machine and make it a cluster; leaves it up.
	@bash tools/lab.sh

lint: setup ## Formatting, lint, types and import contracts.
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup ## Tests that need no host.
	$(BIN)/pytest -m "not lab and not workers"

test: setup ## Lint, types, unit tests and the lab run end to end.
	@bash tools/test.sh

workers: setup ## Tests on two hosts at once: a worker joins, every drift, plain pyinfra.
	$(BIN)/pytest -m workers -v

$(VENV)/.fuzz: $(VENV)/.done requirements-fuzz.lock
	@echo "[setup] a coverage-guided fuzzer into $(VENV), pinned by requirements-fuzz.lock"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-fuzz.lock
	@touch $@

torture: setup $(VENV)/.fuzz ## Hostile inputs, then kills and power cuts in named steps: SEED=1 N=10 INPUTS=1000000 FUZZ=3600 (s).
	for seed in $$(seq $(SEED) $$(($(SEED) + $(N) - 1))); do \
	  $(BIN)/pytest -q -m "hypothesis and not lab and not workers" --hypothesis-seed $$seed tests || exit; done
	$(BIN)/python -m tests.hostile --seed $(SEED) --count $(INPUTS)
	$(BIN)/python -m tests.fuzz_attest --seed $(SEED) --count $(INPUTS)
	$(BIN)/python -m tests.fuzz_guided --seed $(SEED) --seconds $(FUZZ)
	$(BIN)/python -m tests.torture --seed $(SEED) --runs $(N)
	$(BIN)/python -m tests.torture_upgrade --seed $(SEED) --runs $(N)

relock: setup ## Resolve requirements.lock anew from pyproject.toml.
	$(BIN)/python tools/relock.py

wheel: setup ## Build the wheel into dist/.
	$(BIN)/python -m build --wheel --no-isolation

clean: ## Remove what was built in this folder.
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
