# reidkit: what people run. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup browser demo test check lint types notebooks pytest docs wheel lab bench hooks run-notebooks clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): settings.ini setup.py
	@echo "== setup: creating $(VENV) and installing reidkit with its development tools"
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "reidkit needs Python 3.11 or newer; name one with make PYTHON=..."'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -m pip install -q --disable-pip-version-check uv; then \
	  echo "== setup: with uv"; $(BIN)/uv pip install -q --python $(BIN)/python -e '.[dev]'; \
	else echo "== setup: uv is not to be had, with pip"; $(BIN)/python -m pip install -q -e '.[dev]'; fi
	@touch $@

setup: $(STAMP)  ## create .venv and install everything (seconds when nothing changed)
	@echo "== setup: ready ($$($(BIN)/python --version), $$($(BIN)/python -c 'import reidkit; print("reidkit", reidkit.__version__)'))"

demo: $(STAMP)  ## the main job, end to end, without network or GPU: runs/demo/report.html
	@echo "== demo: render a world, train, evaluate, search, detect, track, report"
	@reidkit demo

test: $(STAMP) browser  ## everything CI checks; pytest's summary comes last
	@$(MAKE) --no-print-directory check lint types notebooks docs wheel pytest

check: $(STAMP)  ## notebooks are clean and reidkit/ is what they export
	@echo "== check: nbdev_export and nbdev_clean leave no diff"
	@nbdev_export && nbdev_clean && git diff --exit-code -- nbs reidkit pyproject.toml
	@python docs/readme.py --check

lint: $(STAMP)  ## ruff: code and notebooks
	@echo "== lint: ruff check, ruff format"
	@ruff check . && ruff format --check nbs tests docs benchmarks setup.py

types: $(STAMP)  ## mypy on the package
	@echo "== types: mypy"
	@mypy

notebooks: $(STAMP)  ## run every notebook as a test
	@echo "== notebooks: nbdev_test"
	@OMP_NUM_THREADS=1 MPLBACKEND=agg timeout 20m nbdev_test --n_workers 2 --timing

pytest: $(STAMP)  ## what is no story: properties, parity, command line, site, JupyterLab
	@echo "== pytest"
	@OMP_NUM_THREADS=2 MPLBACKEND=agg pytest -q

docs: $(STAMP)  ## build the site into _site/html, warnings are errors
	@echo "== docs: notebooks -> _site/html"
	@python docs/build.py

wheel: $(STAMP)  ## sdist and wheel into dist/
	@echo "== wheel: python -m build"
	@rm -rf dist build && mkdir dist && python -m build --outdir dist . > dist/build.log 2>&1 || { cat dist/build.log; exit 1; }; ls dist/*.whl

browser:  ## Debian's Chromium for the browser tests (skipped, with a reason, where apt is absent)
	@if command -v chromium >/dev/null; then echo "== browser: $$(command -v chromium) is there"; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then echo "== browser: installing Debian's chromium"; \
	  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) >/dev/null 2>&1 \
	  || echo "== browser: apt could not install chromium; browser tests will be skipped"; \
	else echo "== browser: no apt-get or not root; browser tests will be skipped"; fi

lab: $(STAMP)  ## JupyterLab on the notebooks
	@echo "== lab: JupyterLab on nbs/"
	@jupyter lab nbs

bench: $(STAMP)  ## measure reidkit against slow twins and peers on this machine
	@echo "== bench: speed and memory, as ratios in one run"
	@python benchmarks/run.py && python benchmarks/sampler.py && python benchmarks/loader.py

hooks: $(STAMP)  ## git hooks: clean, export and lint before each commit
	@nbdev_install_hooks && pre-commit install

run-notebooks: $(STAMP)  ## run notebooks and keep their outputs (NB=path for one)
	@OMP_NUM_THREADS=1 MPLBACKEND=agg python docs/run_notebooks.py $(NB)

clean:  ## remove what is generated (not .venv, not runs/)
	@echo "== clean: generated files"
	@rm -rf _proc _sphinx _site _docs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
