# Two commands set everything up: `make demo` (the main job) and `make test`. They need Python 3.11+ and make only.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help demo test lint unit distributed venv lock clean

help:
	@echo "make demo   set up, then make, filter and learn from defects; ends at runs/demo/report/index.html"
	@echo "make test   set up, then format, lint, types, unit tests and tests on a real local Ray"
	@echo "make venv   set up .venv alone"
	@echo "make lock   write requirements.lock anew from pyproject.toml"

venv: $(READY)

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer on the PATH; or give PYTHON=/path/to/python"; exit 1; }
	@echo "== setting up .venv with $(PYTHON) (once; about 6 GB of packages)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)
	@echo "== demo: a whole run on this machine (minutes the first time, seconds after it)"
	@$(BIN)/farm demo

test: lint unit distributed

lint: $(READY)
	@echo "== format, lint, types"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

unit: $(READY)
	@echo "== unit tests (no Ray)"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit -n 2 --dist loadfile

distributed: $(READY)
	@echo "== tests on a real local Ray"
	@RAY_AUTH_MODE=disabled $(BIN)/python -m pytest tests/distributed

lock: pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra demo --extra dev --extra cloud --extra launch --no-emit-index-url --no-annotate \
		--no-header --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv runs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
