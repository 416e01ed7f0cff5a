# Every target sets up what it needs from a machine that has only Python 3.11 and make; a second call is quick.
#
#   make run     install openblip and mini, caption the sample photos, then serve on localhost until Ctrl-C (no torch)
#   make test    install the development tools, then check, then the tests, the slow ones of the engines' parity too
#   make check   ruff, mypy --strict, import-linter
#   make page    build the page that the service serves (Node 20.9 or newer; make run does it where there is one)
#   make web     what make test does for the page: types, ESLint, Vitest, and its tests in Chromium
#   make synth   write the templates of the deployment to build/cdk.out, with no account (docs/deploy.md)
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
SYNTH_OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

PAGE := src/openblip/serve/built_page/policy.json
PAGE_SOURCES := $(shell find web/app web/components web/lib web/public web/scripts -type f) \
	web/next.config.ts web/postcss.config.mjs web/tsconfig.json

.PHONY: run page web test check synth bench compare load clean
.DELETE_ON_ERROR:

run: $(STAMPS)/service
	@web/scripts/ready.sh node && $(MAKE) --no-print-directory page || echo "serving without the page" >&2
	$(BIN)/openblip caption samples
	$(BIN)/openblip serve --port $(PORT)

page: $(PAGE)

web: $(STAMPS)/development page
	cd web && npm run --silent check
	cd web && OPENBLIP_PYTHON=../$(BIN)/python npm run --silent browser

# The training tests have a process of their own: after all other tests, with OpenVINO and torch loaded for minutes, a signal
# or a child process of theirs ended pytest with SIGSEGV (docs/lab-log.md).
test: check
ifeq ($(PYTEST_OPTIONS),)
	@if web/scripts/ready.sh node chromium; then $(MAKE) --no-print-directory web; \
	else [ "$$OPENBLIP_REQUIRE_BROWSER" != 1 ] && echo "the page is not tested"; fi
	@if web/scripts/ready.sh node 2>/dev/null; then $(MAKE) --no-print-directory deploy/node_modules/.stamp; fi
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

synth: $(STAMPS)/deploy deploy/node_modules/.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" deploy/node_modules/.bin/cdk synth --quiet -c version=latest $(SYNTH_OPTIONS)

bench: $(STAMPS)/runtime
	$(BIN)/python -m benchmarks.mini $(BENCH_OPTIONS)
	$(MAKE) compare

compare: $(STAMPS)/bench
	$(BIN)/python -m benchmarks.compare $(COMPARE_OPTIONS)

load: $(STAMPS)/bench
	$(BIN)/python -m benchmarks.load $(LOAD_OPTIONS)

clean:
	rm -rf deploy/node_modules web/node_modules web/.next web/out web/screenshots web/test-results $(dir $(PAGE))
	rm -rf $(VENV) build dist models/*/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

web/node_modules/.stamp: web/package.json web/package-lock.json web/.npmrc
	@web/scripts/ready.sh node
	cd web && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-progress
	@touch $@

$(PAGE): web/node_modules/.stamp $(PAGE_SOURCES)
	cd web && NEXT_TELEMETRY_DISABLED=1 npm run --silent build

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

deploy/node_modules/.stamp: deploy/package.json deploy/package-lock.json deploy/.npmrc
	@web/scripts/ready.sh node
	cd deploy && npm ci --no-progress
	@touch $@

$(STAMPS)/deploy: $(STAMPS)/runtime
	$(INSTALL) --editable ".[deploy]"
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
