# Everything a person types here; `make help` lists it.
SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14,$(shell command -v $(name))) python3.11)
SEED ?= 0
N ?= 200
.DEFAULT_GOAL := check
.PHONY: help demo check test fix schemas agent bench sim chaos lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(VENV)/ready: pyproject.toml requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/ready ## the main job, from YAML in Git to a finished deployment
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

check: $(VENV)/ready ## format, lint, types, layers, schema drift, tests without the long ones
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q -n 2 -m "not end_to_end"

fix: $(VENV)/ready ## format and mend what can be mended by machine
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

schemas: $(VENV)/ready ## write the JSON Schemas again
	$(BIN)/reconcile schema --write schemas

test: $(VENV)/ready ## everything; installs the parts it needs
	bash tests/parts.sh
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -q -n 2 -m end_to_end

agent: $(VENV)/ready ## the agent as one file, build/reconcile-agent.pyz
	@mkdir -p build
	$(BIN)/python -m reconciler.agent.bundle build/reconcile-agent.pyz

bench: $(VENV)/ready ## figures as ratios against peers, in one run
	$(BIN)/python benchmarks/run.py

sim: $(VENV)/ready ## a fleet with one server and with several on N seeds from SEED on, one ticket, and deaths at every write
	$(BIN)/python -m pytest -q -n 2 tests/simulation --seed=$(SEED) --seeds=$(N)

chaos: $(VENV)/ready ## full counts of kill -9, bad weather and cut links against real processes
	bash tests/parts.sh
	$(BIN)/python -m pytest -q -n 2 tests/chaos --kills=200 --deselect tests/chaos/test_rounds.py
	$(BIN)/python -m pytest -q -n 5 tests/chaos/test_rounds.py --rounds=300
	$(BIN)/python -m pytest -q tests/end_to_end/test_two_agents.py --cut-lines=3000

lock: ## pin the development set again
	$(BIN)/python -m piptools compile --quiet --all-extras --allow-unsafe --generate-hashes --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements-dev.txt pyproject.toml

clean: ## remove what the targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build
