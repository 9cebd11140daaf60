# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
# Where there is no NVIDIA GPU, a CPU build of torch is enough; override with make setup TORCH='torch==...'.
TORCH ?= $(shell command -v nvidia-smi >/dev/null 2>&1 && echo 'torch>=2.11' || echo 'torch==2.13.0')
# CUDA builds of torch bring the Triton they go with; beside a CPU build this one compiles and interprets kernels.
TRITON ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || echo 'triton==3.7.1')
VENV := .venv
RUN := $(VENV)/bin/python
# Threads of the benches; empty: two, or one where there is one core.
THREADS ?=
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-table test test-full lint types bench aot readme gpu gpu-network clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv and install everything the other targets need

$(READY): pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'make: got $(shell $(PYTHON) --version 2>&1), expected Python 3.11 or newer: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo 'make: this Python cannot make environments: apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q --disable-pip-version-check '$(TORCH)' $(TRITON)
	$(RUN) -m pip install -q --disable-pip-version-check -e '.[test,dev]'
	@touch $(READY)

demo: $(READY) ## train on embedded real speech, swap, score, draw: runs/demo/index.html
	@$(RUN) -m diffsda demo --out runs/demo --overwrite

demo-table: $(READY) ## the demo with seeds 0, 1 and 2, kept as a record and written into the README
	$(RUN) -m diffsda demo --out runs/demo-seeds --overwrite --seeds 0 1 2 --record bench/records/demo.json
	$(RUN) -m diffsda.bench.tables README.md

test: $(READY) ## the tests, with coverage (at most 15 minutes on 2 cores)
	$(RUN) -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

test-full: $(READY) ## what is slow: soaks, packaging, the demo, the benches once
	$(RUN) -m pytest -m slow

lint: $(READY) ## style
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(READY) ## static types, over a linked tree shaped like the installed package
	@rm -rf .types && mkdir -p .types/diffsda
	@for f in diffsda/*; do ln -s "../../$$f" .types/diffsda/; done
	@for d in kernels export data bench; do ln -s "../../$$d" ".types/diffsda/$$d"; done
	MYPYPATH=.types $(RUN) -m mypy -p diffsda

bench: $(READY) ## time ours, the published execution and the floor side by side (THREADS=1 for one thread)
	BENCH_THREADS=$(THREADS) $(RUN) -m pytest bench -o python_files='bench_*.py' -o addopts= -q --benchmark-only --benchmark-json .bench.json \
	  --benchmark-columns=min,median --benchmark-disable-gc
	@$(RUN) -m diffsda.bench.record .bench.json && rm .bench.json

aot: $(READY) ## compile every kernel for every GPU generation, no GPU needed: bench/records/aot (half an hour)
	$(RUN) -m diffsda.bench.aot --jobs 2

readme: $(READY) ## write the tables of the README and of docs from the records
	$(RUN) -m diffsda.bench.tables README.md
	$(RUN) -m diffsda.bench.results docs/results.md

gpu: ## tests and benches on a GPU host, from the checkout, without installing; ends within 9 minutes
	PYTHONPATH=. $(PYTHON) -m diffsda.bench.gpu

gpu-network: ## whole networks on a GPU host, side by side with their peers; ends within 9 minutes
	PYTHONPATH=. $(PYTHON) -m diffsda.bench.gpu_network

clean: ## remove what the targets made
	rm -rf $(VENV) .types runs .bench.json
