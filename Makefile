# Start with `make demo` and `make test`. They need only Python 3.10 or newer.

PYTHON ?= python3
VENV   ?= .venv
# Processes of pytest. Most tests wait, so six processes keep two processors busy.
WORKERS ?= 6
PYTEST ?=
BENCH  ?= --json benchmarks/results.json
MINUTES ?= 60
FAULTS  ?= 50
SEED   ?=
SOAK   := build/soak.json

BIN      := $(VENV)/bin
TESTS    := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
PIP      := $(BIN)/python -m pip --disable-pip-version-check --quiet
VERSION  := import sys; print(sys.version_info[:2])
METADATA := setup.py setup.cfg pyproject.toml $(wildcard requirements/*.txt)
CHECKED  := sse_client pytest_sse_client.py $(wildcard examples tests/typing)

# The tests start hundreds of processes. Without bytecode, each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help python demo test test-all test-ci soak relay-soak lint format types coverage check docs bench package clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo      follow a stream that breaks and recovers'
	@echo 'make test      run the tests, with WORKERS=6 processes; PYTEST="-k close -x" for some'
	@echo 'make test-ci   run the long tests that otherwise only CI runs; make test-all for both'
	@echo 'make check     run everything that a change must pass'
	@echo 'make bench     measure against other clients; BENCH="--quick" for a first look'
	@echo 'make docs      build the documentation in build/docs'
	@echo 'make soak      inject faults for MINUTES=60, from SEED=n or a new seed; figures in $(SOAK)'
	@echo 'make package   build the sdist and the wheel in dist/, and check them'
	@echo 'make relay-soak kill relays, consumers and Redis at least FAULTS=50 times, from SEED=n'
	@echo 'make lint | format | types | coverage | clean'

demo: $(VENV)/.installed
	$(BIN)/python -m sse_client demo

test: $(VENV)/.installed-test
	$(TESTS) $(PYTEST)

test-all: $(VENV)/.installed-test
	$(TESTS) --ci $(PYTEST)

# One process per file, because the tests of a file share expensive fixtures. With --ci, hypothesis
# creates five times as many examples.
test-ci: $(VENV)/.installed-test
	$(BIN)/python -m pytest --ci -m 'ci or hypothesis' -n $(WORKERS) --dist loadfile $(PYTEST)

soak: $(VENV)/.installed-test
	$(BIN)/python tests/chaos/soak.py --minutes $(MINUTES) $(addprefix --seed ,$(SEED)) --json $(SOAK)

relay-soak: $(VENV)/.installed-test
	$(BIN)/python tests/relay/judged.py --faults $(FAULTS) $(addprefix --seed ,$(SEED))

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.installed-dev
	$(BIN)/python -m mypy $(CHECKED)

coverage: $(VENV)/.installed-test
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

check: lint types coverage

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -E -W --keep-going -n docs build/docs

bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/run.py $(BENCH)

# The wheel is built from the sdist, which shows whether the sdist is complete.
package: $(VENV)/.installed-package
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) .venv-3.* .venv-free-threaded .venv-oldest build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find sse_client tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Stamps: packages are installed again only if the metadata has changed.

$(VENV)/.created: | python
	$(PYTHON) -m venv $(VENV)
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo 'sse_client needs Python 3.10 or newer; try: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo '"$(PYTHON)" cannot create virtual environments. On Debian: apt install python3-venv' >&2; exit 1; }
	@test ! -x $(BIN)/python || \
	test "$$($(PYTHON) -c '$(VERSION)')" = "$$($(BIN)/python -c '$(VERSION)')" || { \
	    echo '$(VENV) belongs to another Python: also give VENV=, or run "make clean" first' >&2; exit 1; }

$(VENV)/.installed: $(VENV)/.created $(METADATA)
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created $(METADATA)
	$(PIP) install $(addprefix -r requirements/,test.txt interop.txt peers.txt)
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.created $(METADATA)
	$(PIP) install -r requirements/dev.txt
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.created $(METADATA)
	$(PIP) install -r requirements/docs.txt
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.created $(METADATA)
	$(PIP) install -r requirements/bench.txt
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-package: $(VENV)/.created $(METADATA)
	$(PIP) install -r requirements/package.txt
	@touch $@
