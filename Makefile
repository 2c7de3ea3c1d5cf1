# `make demo` and `make test` need Python 3.11 or newer and nothing else: they make their own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: help demo test chaos lint docs bench lock clean

help:
	@echo "make demo    orders, relay, read model: live in the terminal (ARGS=\"--events 5000 --plain\")"
	@echo "make test    the whole suite on real servers"
	@echo "make chaos   faults at random on a cluster (ARGS=\"--minutes 10 --seed 7\")"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make docs    docs/cli.md, from the commands"
	@echo "make bench   the benchmark (ARGS=\"--quick\")"

$(READY): requirements/constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY)
	@$(BIN)/relay demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

chaos: $(READY)
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check relay tests bench
	$(BIN)/ruff check relay tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/python -m relay.cli.reference > docs/cli.md.new
	mv docs/cli.md.new docs/cli.md

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

# Needs pip-tools in the venv; writes no address of any registry.
lock: $(READY)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --all-extras --all-build-deps \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header \
		--output-file requirements/constraints.txt pyproject.toml

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache bench/results
