# Everything runs in .venv, which is made on first use and brought up to date when pyproject.toml
# changes. Needed beforehand: make, and Python >= 3.11 with its venv module.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLDEST := .venv-oldest
DEMO := demo
# For the tests of momentc[learn]. The build for CPUs alone comes first: the one of the package
# index brings several GB of CUDA libraries. Where the CPU index cannot be reached, pip says so and
# takes what its own indexes have. What torch itself needs comes with the tests' other packages.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help demo test oldest nightly lint bench bench-large clean

help: ## show this list
	@echo "make targets:"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 15

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "momentc needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --retries 1 \
	  --extra-index-url $(TORCH_INDEX) '$(TORCH)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(STAMP)

demo: $(STAMP) ## compress the sample photograph, verify it, draw it (demo/)
	@mkdir -p $(DEMO)
	$(BIN)/momentc compress sample_data/photograph.h5 --k 5 --target 1000 --force -o $(DEMO)/photograph.momentc.h5
	$(BIN)/momentc verify-moments sample_data/photograph.h5 $(DEMO)/photograph.momentc.h5
	$(BIN)/python sample_data/demo_picture.py sample_data/photograph.h5 $(DEMO)/photograph.momentc.h5 $(DEMO)/compressed_photograph.png
	@echo "The picture is $(DEMO)/compressed_photograph.png"

test: $(STAMP) ## run the tests, in as many processes as there are cores, four at most
	$(BIN)/python -m pytest -n auto --maxprocesses 4

# torch as above: its old releases have no build for CPUs alone under the same name. Old releases
# warn of what the newest of other packages have deprecated.
oldest: ## run the tests with the oldest releases that pyproject.toml allows
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -c 'import re, tomllib; \
	  wanted = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	  groups = [wanted["dependencies"], *wanted["optional-dependencies"].values()]; \
	  found = [re.match(r"([\w-]+).*>=([\d.]+)", each) for group in groups for each in group]; \
	  print(*("==".join(each.groups()) for each in found if each and each[1] != "torch"), sep="\n")' \
	  > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --retries 1 \
	  --extra-index-url $(TORCH_INDEX) '$(TORCH)'
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(OLDEST)/oldest.txt -e '.[test]'
	$(OLDEST)/bin/python -m pytest -n auto --maxprocesses 4 -W ignore::DeprecationWarning

nightly: $(STAMP) ## kill, crash and resume a hundred times; compile from nothing
	MOMENTC_KILLS=100 MOMENTC_NIGHTLY=1 $(BIN)/python -m pytest tests/cli/test_interruption.py tests/cli/test_crashes.py tests/test_kernels.py --timeout 3600

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## time the main operations
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

bench-large: $(STAMP) ## compress 10^8 rows under 1 GB; fewer: make bench-large ROWS=2e6
	$(BIN)/python benchmarks/large.py $(ROWS)

clean: ## remove .venv, caches and the demo's files
	rm -rf $(VENV) $(OLDEST) $(DEMO) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
