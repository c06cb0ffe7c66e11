# make run: every kernel compresses a small network, in a minute.  make test: the tests.  make docs: docs/ as a site.
# make thesis: the text as PDF and HTML.  All set up .venv first.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: run test docs thesis check clean

run: .venv/installed
	$(BIN)/python -m experiments.run.first

test: .venv/installed
	$(BIN)/python -m pytest

docs: .venv/installed
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env --builder html docs docs/_build
	@echo 'docs/_build/index.html'

thesis: .venv/installed
	$(BIN)/python thesis/build.py

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 11) else "Python must be 3.11 or later, got " + v + "; set it with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build docs/_build docs/_figures thesis/thesis.pdf thesis/thesis.html *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
