# Two commands do everything: `make demo` and `make test`. Both create the environment if need be.
# Another interpreter: make test PYTHON=python3.12 (it gets an environment of its own).

PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(VERSION))
BIN := $(VENV)/bin
PEERS := .venv-peers
DOCS := .venv-docs
STAMP := $(VENV)/.installed-$(VERSION)
WORKERS := $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 3 ? 3 : n > 4 ? 4 : n)))

.PHONY: help demo test test-faults test-accelerator lint check fast install format lock bench results results-long tables docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(STAMP)  ## train the vanilla autoencoder on the embedded digits, to its final table
	$(BIN)/aeflax train --run-dir runs/demo --overwrite

test: $(STAMP)  ## all tests
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --max-worker-restart 0 tests

test-faults: $(STAMP)  ## try every fault many times (about two hours), record how often the right behaviour was seen
	$(BIN)/python tests/faults/campaign.py
	$(BIN)/python benchmarks/tables.py

fast: $(STAMP)  ## the tests that need no process of their own and train nothing for long
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --max-worker-restart 0 -m "not slow" tests

test-accelerator: $(STAMP)  ## what must hold on an accelerator, against the CPU beside it
	$(BIN)/pytest --noconftest tests/accelerator/checks.py

lint: $(STAMP)  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint fast  ## both

install: $(STAMP)  ## the environment alone

format: $(STAMP)  ## format and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) $(PEERS)/.installed  ## aeflax beside PyTorch, Keras and JAX's own loop, in turn; writes docs/performance.md
	$(BIN)/python benchmarks/compare.py --peers $(PEERS)/bin/python
	if [ -n "$$AEFLAX_DATA_DIR" ]; then $(BIN)/python benchmarks/whole.py --peers $(PEERS)/bin/python; fi
	$(BIN)/python benchmarks/tables.py

results: $(STAMP)  ## run the experiments that fit in an hour, record their figures, write the tables
	$(BIN)/python -m experiments

results-long: $(STAMP)  ## run those that take a quarter of an hour and more each (about three hours)
	$(BIN)/python -m experiments --long

tables: $(STAMP)  ## write README's tables anew, from what is recorded
	$(BIN)/python -m experiments --tables

docs: $(DOCS)/.installed  ## the documentation, into site/; a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet

lock: $(STAMP)  ## renew constraints.txt for every supported Python
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --fork-strategy requires-python --no-header --no-annotate --quiet --upgrade --output-file constraints.txt

clean:  ## remove environments and caches; runs stay
	rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The peers have an environment of their own: they are measured, never needed.
$(PEERS)/.installed: benchmarks/requirements.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	touch $@

# The documentation's tools, without what they describe.
$(DOCS)/.installed: docs/requirements.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.txt
	touch $@

# Rebuilt when the dependencies change. Compiled here, so that the first command is not the slow one.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aeflax needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q aeflax
	touch $@
