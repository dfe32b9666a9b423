# make demo | test | chaos | bench | lint | slurm-up: each makes .venv first, on a machine with only Python
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test bench lint slurm-up slurm-shell slurm-down slurm-packages fuse-packages browser-packages chaos clean

demo: $(STAMP)  ## Population Based Training on real data, with local workers
	$(BIN)/python -m launchers.pbt task=digits name=demo
	@echo 'next: . $(BIN)/activate, then romul best outputs/demo'
	@echo "look: file://$(CURDIR)/outputs/demo/report.html"

test: $(STAMP) lint slurm-packages fuse-packages browser-packages  ## every test; those on Slurm where it can be installed
	$(BIN)/python -m pytest -n 4 --dist worksteal

SEED ?= 0
FAULTS ?= 50
CLUSTER ?= local
chaos: $(STAMP) slurm-packages fuse-packages  ## SEED=7 FAULTS=100 CLUSTER=slurm: a population under faults
	$(BIN)/python -m tests.chaos --seeds $(SEED) --faults $(FAULTS) --cluster $(CLUSTER)

bench: $(STAMP) slurm-packages browser-packages  ## what the machinery costs, in numbers
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.resume
	$(BIN)/python -m benchmarks.slurm
	$(BIN)/python -m benchmarks.multirun
	$(BIN)/python -m benchmarks.report

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

slurm-up: $(STAMP) slurm-packages  ## a Slurm of 4 nodes on this machine, in .slurm
	$(BIN)/python -m tests.slurm up

slurm-shell: $(STAMP)  ## a shell that sees it: sbatch, squeue, cluster=slurm
	@$(BIN)/python -m tests.slurm shell

slurm-down: $(STAMP)  ## stop it and all that runs in it
	$(BIN)/python -m tests.slurm down

slurm-packages: $(STAMP)  ## the programs for it, where we are root and there is apt-get
	@$(BIN)/python -m tests.slurm packages

fuse-packages: $(STAMP)  ## the programs for bad disks, likewise
	@$(BIN)/python -m tests.chaos.packages

browser-packages: $(STAMP)  ## a browser for the tests of the report, likewise
	@$(BIN)/python -m tests.report.packages

# a build in a stamp file: an interrupted installation is done again
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info
