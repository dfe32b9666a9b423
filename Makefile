# make demo | test | bench | lint: each makes .venv first, on a machine with nothing but Python
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test bench lint clean

demo: $(STAMP)  ## Population Based Training on real data, with local workers
	$(BIN)/python -m launchers.pbt task=digits name=demo
	@echo 'next: . $(BIN)/activate, then romul best outputs/demo'

test: $(STAMP) lint  ## every test
	$(BIN)/python -m pytest -n 2

bench: $(STAMP)  ## what the machinery costs, in numbers
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.resume

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# a build in a stamp file: an interrupted installation is done again
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info
