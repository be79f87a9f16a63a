# make demo and make test set up everything they need in .venv; the rest is for those who work on the code.
PYTHON ?= python3
VENV ?= .venv
PEER ?= .peer
BIN := $(VENV)/bin
RUNS ?= runs
# one run per core: small models do not fill several
JOBS ?= $(shell nproc)

# one thread per test process: tests run on all cores already, and small tensors want no more
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-peer test-cluster test-browser test-latex lint format types imports check peer mlflow optuna benchmarks gpu map clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# Slow to build, so a stamp per set of packages, renewed when what they depend on changes.
$(VENV)/runtime: pyproject.toml constraints.txt tools/install.sh
	@PYTHON="$(PYTHON)" sh tools/install.sh "$(VENV)" runtime
	@touch $@

$(VENV)/dev: $(VENV)/runtime
	@PYTHON="$(PYTHON)" sh tools/install.sh "$(VENV)" dev
	@touch $@

demo: $(VENV)/runtime  ## replay all seven stages on the embedded dataset, about 15 minutes on 2 cores
	$(BIN)/python -m studies.roadmap --embedded --protocol demo --launcher local --jobs $(JOBS) --runs $(RUNS)

test: $(VENV)/dev  ## all tests that need nothing but Python, at most 10 minutes on 2 cores
	$(PYTEST) -n auto --dist loadgroup -m "not peer and not cluster and not browser and not latex"

test-peer: $(VENV)/dev $(PEER)/installed  ## tests against the official code (installs it into .peer)
	$(PYTEST) -n auto --dist loadgroup tests/peer

test-cluster: $(VENV)/dev  ## tests on a real Slurm; needs root, slurm-wlm and munge
	$(PYTEST) tests/cluster -m cluster

test-browser: $(VENV)/dev  ## tests of the pages in a headless Chromium; needs chromium and chromium-driver
	$(PYTEST) -m browser

test-latex: $(VENV)/dev  ## compile the tables; needs pdflatex with booktabs
	$(PYTEST) -m latex

check: lint types imports  ## lint, types and import rules

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev  ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/dev
	$(BIN)/mypy

imports: $(VENV)/dev
	$(BIN)/lint-imports

peer: $(PEER)/installed  ## install the official code beside the project, for tests and benchmarks

$(PEER)/installed: $(VENV)/dev tools/install-peer.sh
	@sh tools/install-peer.sh "$(VENV)" "$(PEER)"
	@touch $@

mlflow: $(VENV)/runtime  ## start an MLflow server on localhost over the project's store
	$(BIN)/python -m studies.mirror.server --runs $(RUNS)

$(VENV)/dashboard: $(VENV)/runtime
	@PYTHON="$(PYTHON)" sh tools/install.sh "$(VENV)" dashboard
	@touch $@

optuna: $(VENV)/dashboard  ## open optuna-dashboard on localhost over a search; SEARCH=name where there are several
	$(BIN)/python -m studies.dashboard --runs $(RUNS) $(if $(SEARCH),--study $(SEARCH))

benchmarks: $(VENV)/dev $(PEER)/installed  ## time ours against the official code
	$(BIN)/python -m benchmarks

gpu: $(VENV)/dev  ## tests, resume, throughput and latency on a GPU, and a page of them; without one, what it would do
	$(BIN)/python -m benchmarks.gpu

map:  ## bring the README's list of files up to date
	$(PYTHON) tools/module_map.py --write

clean:  ## remove the virtual environment and the official code; runs stay
	rm -rf $(VENV) $(PEER)
