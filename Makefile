# Everything happens in .venv, made from pyproject.toml and the exact versions in constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test test-slow check lint format clean
.DELETE_ON_ERROR:

demo: $(VENV)/demo.stamp  ## separate the bundled recording, print what happened, leave tracks and a picture in demo-output/
	$(BIN)/python examples/demo.py

test: $(VENV)/dev.stamp  ## the default tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/dev.stamp  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

check: lint test  ## what continuous integration holds

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo-output .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by exact version: a looser request resolves to builds that bring gigabytes of CUDA libraries.
$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --editable ".[plot]"
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/demo.stamp
	$(PIP) setuptools wheel
	$(PIP) --editable ".[all,dev]"
	touch $@
