# Creditline. Needs Python 3.11 or newer, pip and make; everything else goes into .venv.
#
#   make demo    train a small model on real icons, trace 16 generated ones, write a report
#   make openmoji   tune an adapter on six contributors' emoji, trace, retrain, LDS (needs npm)
#   make check   lint, types, import contract and the quick tests
#   make test    the same with the tests that train models
#   make test-all  every test, the longest included
#   make docs    build the documentation site into site/
#   make bench   what extraction costs, next to a training step
#   make profile where the time of an index goes, stage by stage
#   make bench-peers   the same work by other libraries, in environments of their own
#   make models-table  every class of models on small instances: what works, and what it costs
#   make bench-scale   what solving, searching and changing an index of a million rows cost
#
# TORCH chooses the PyTorch to install in a new environment (`make clean` removes the old one); on a
# GPU machine, for instance, `make demo TORCH=torch`.

PYTHON ?= python3
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 CREDITLINE_PROGRESS=0 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: help demo openmoji static types lint check test test-all docs vocabulary bench profile bench-peers models-table bench-scale format clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by itself, so that no dependency pulls another build of it
$(VENV)/.torch: $(BIN)/python
	$(BIN)/pip install --quiet '$(TORCH)'
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet -e .
	@touch $@

# Icons are read as files, so what their packages would import is left out.
$(VENV)/.demo: $(VENV)/.installed
	$(BIN)/$$($(BIN)/python -c 'from creditline.data.icons import PIP_COMMAND as c; print(c)') --quiet
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@

demo: $(VENV)/.demo  ## train, generate, index, trace, report (about 10 minutes on 2 cores)
	$(BIN)/creditline demo --out runs/demo

openmoji: $(VENV)/.installed  ## emoji, an adapter, its ground truth (less than an hour on 2 cores)
	$(BIN)/pip install --quiet -e '.[text,lora]' resvg-py
	$(BIN)/python examples/openmoji/run.py --out runs/openmoji

static: $(VENV)/.dev  ## lint, format, types, the import contract and the vocabulary
	@$(MAKE) --no-print-directory --jobs 2 types lint

types:
	$(BIN)/mypy

lint:
	$(BIN)/ruff check src tests tools examples
	$(BIN)/ruff format --check src tests tools examples
	$(BIN)/lint-imports
	$(BIN)/python -m tools.vocabulary

check: static  ## static checks and the quick tests
	$(PYTEST) -m 'not slow and not long'

test: static  ## static checks and tests
	$(PYTEST) -m 'not long'

test-all: static  ## static checks and every test
	$(PYTEST)

vocabulary: $(VENV)/.dev  ## words that do not belong to the vocabulary
	$(BIN)/python -m tools.vocabulary

docs: $(VENV)/.dev  ## the documentation site, in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: $(VENV)/.demo  ## CPU time of extraction over that of a training step (30 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench
	OMP_NUM_THREADS=1 CREDITLINE_PROGRESS=0 $(BIN)/python -m tools.bench_curvature

profile: $(VENV)/.demo  ## where the time of an index goes (CIFAR2=FOLDER: of cifar2-small, too)
	OMP_NUM_THREADS=1 CREDITLINE_PROGRESS=0 $(BIN)/python tools/profile_index.py $(if $(CIFAR2),--cifar2 $(CIFAR2))

bench-peers: $(VENV)/.installed  ## the same work by traker, dattri and kronfluence (a few minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench_peers
	OMP_NUM_THREADS=1 CREDITLINE_PROGRESS=0 $(BIN)/python -m tools.compare_kronfluence

models-table: $(VENV)/.dev  ## every class of models on small instances, as in docs/results/models.md
	OMP_NUM_THREADS=1 CREDITLINE_PROGRESS=0 $(BIN)/python -m tools.models_table

bench-scale: $(VENV)/.demo  ## solver, search and a million rows: time and memory (30 GB of disk in runs/)
	OMP_NUM_THREADS=1 CREDITLINE_PROGRESS=0 $(BIN)/python -m tools.bench_scale
	OMP_NUM_THREADS=1 CREDITLINE_PROGRESS=0 $(BIN)/python -m tools.bench_codes --seed 1 --share 0.012

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff check --fix src tests tools examples
	$(BIN)/ruff format src tests tools examples

clean:  ## remove the environment and caches
	rm -rf $(VENV) .venv-traker .venv-dattri .pytest_cache .mypy_cache .ruff_cache site
