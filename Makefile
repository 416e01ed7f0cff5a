# Every target sets up what it needs from a machine that has only Python 3.11 and make; a second call is quick.
#
#   make run     install openblip and mini, caption the sample photos, then serve on localhost until Ctrl-C (no torch)
#   make test    install the development tools, then check, then the tests, the slow ones of the engines' parity too
#   make check   ruff, mypy --strict, import-linter
#   make bench   measure mini on this machine, then make compare (stop everything else first)
#   make compare measure openblip beside transformers, OpenVINO and ONNX Runtime (COMPARE_OPTIONS="--quick": a try)
#   make load    measure the service under load, beside two rivals (LOAD_OPTIONS="--quick": a try; docs/load.md)
#   make clean   remove the environment and all caches
#
# PYTHON=python3.12 picks another interpreter; PORT=8080 another port; PYTEST_OPTIONS="-m slow" another choice of tests.

PYTHON ?= python3.11
PYTEST_OPTIONS ?=
BENCH_OPTIONS ?=
COMPARE_OPTIONS ?=
PORT ?= 8000
LOAD_OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check bench compare load clean
.DELETE_ON_ERROR:

run: $(STAMPS)/service
	$(BIN)/openblip caption samples
	$(BIN)/openblip serve --port $(PORT)

# The training tests have a process of their own: after all other tests, with OpenVINO and torch loaded for minutes, a signal
# or a child process of theirs ended pytest with SIGSEGV (docs/lab-log.md).
test: check
ifeq ($(PYTEST_OPTIONS),)
	$(BIN)/python -m pytest tests/test_train*.py
	$(BIN)/python -m pytest -m "(parity or ray) and slow"
	$(BIN)/python -m pytest --ignore-glob='tests/test_train*.py'
else
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)
endif

check: $(STAMPS)/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMPS)/runtime
	$(BIN)/python -m benchmarks.mini $(BENCH_OPTIONS)
	$(MAKE) compare

compare: $(STAMPS)/bench
	$(BIN)/python -m benchmarks.compare $(COMPARE_OPTIONS)

load: $(STAMPS)/bench
	$(BIN)/python -m benchmarks.load $(LOAD_OPTIONS)

clean:
	rm -rf $(VENV) build dist models/*/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The recipes write their stamp last, so that an install that failed is tried again.
$(STAMPS)/environment: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/service: $(STAMPS)/runtime
	$(INSTALL) --editable ".[serve]" --editable models/mini
	@touch $@

$(STAMPS)/runtime: $(STAMPS)/environment pyproject.toml models/mini/pyproject.toml
	$(INSTALL) --editable . --editable models/mini
	@touch $@

# torch comes first and by its pin, so that nothing later pulls another build of it.
$(STAMPS)/bench: $(STAMPS)/runtime
	$(INSTALL) torch
	$(INSTALL) --editable ".[bench]" --editable models/mini
	@touch $@

$(STAMPS)/development: $(STAMPS)/runtime
	$(INSTALL) torch
	$(INSTALL) --editable ".[dev]" --editable models/mini
	@touch $@
