# Every target builds the environment in .venv first, where it isn't there yet.
# PYTHON=/path/to/python3.12 chooses the interpreter, ACCEL=cpu|gpu the build of vLLM,
# JOBS the number of processes that run tests; each may hold an engine of 2 GB.

SHELL := /bin/bash
BIN := .venv/bin
UV_VERSION := 0.13.8

export HF_HUB_OFFLINE ?= 1
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export TOKENIZERS_PARALLELISM ?= false
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS ?= 120
export PYTHON ACCEL UV_VERSION
# a fresh environment keeps what it compiles: without that, every start costs seconds more
unexport PYTHONDONTWRITEBYTECODE
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench pins clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: ## build or update the environment in .venv
	@.ci/setup

demo: setup ## a small spoken corpus through the whole pipeline, with the real engine
	@$(BIN)/python -m flows.demo $(ARGS)

test: setup ## all tests with branch coverage; ARGS="tests/shards -k resume" picks some
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations 15 --cov --cov-branch \
	    --cov-report=term-missing:skip-covered $(ARGS)

check: setup ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: setup ## the benchmarks; results with their commands stand in docs/performance.md
	@for benchmark in benchmarks/bench_*.py; do \
	    echo "== $$benchmark"; $(BIN)/python "$$benchmark" || exit 1; done

pins: setup ## resolve pyproject.toml again into .ci/pins-*.txt
	@.ci/pins

clean: ## remove the environment and everything that tools left behind
	rm -rf .venv .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
	    .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
