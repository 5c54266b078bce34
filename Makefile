# The two to begin with: `make demo` and `make test`. They need Python 3.10 or newer, and nothing else.

PYTHON ?= python3
VENV   ?= .venv
# Of pytest. Most tests wait, so more of them than processors keep two processors busy.
WORKERS ?= 4
PYTEST ?=
BENCH  ?= --json benchmarks/results.json --picture benchmarks/results.svg
MINUTES ?= 60
FAULTS  ?= 50
SEED   ?=
SOAK   := build/soak.json

BIN      := $(VENV)/bin
TESTS    := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
PIP      := $(BIN)/python -m pip --disable-pip-version-check --quiet
VERSION  := import sys; print(sys.version_info[:2])
METADATA := setup.py setup.cfg pyproject.toml
CHECKED  := sse_client pytest_sse_client.py $(wildcard examples tests/typing)

# The tests start hundreds of processes. Without bytecode, each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help python demo test test-all test-ci soak relay-soak lint format types coverage check docs bench package clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo      follow a stream that breaks and comes back'
	@echo 'make test      run the tests, with WORKERS=4 processes; PYTEST="-k close -x" for some'
	@echo 'make test-ci   the long tests that otherwise only CI runs; make test-all for both'
	@echo 'make check     everything a change must pass'
	@echo 'make bench     measure against other clients; BENCH="--quick" for a first look'
	@echo 'make docs      build the documentation in build/docs'
	@echo 'make soak      faults for MINUTES=60, of SEED=n or a new one; the figures go to $(SOAK)'
	@echo 'make package   build the sdist and the wheel in dist/, and check them'
	@echo 'make relay-soak kills relays, consumers and Redis, FAULTS=50 times at least, of SEED=n'
	@echo 'make lint | format | types | coverage | clean'

demo: $(VENV)/.installed
	$(BIN)/python -m sse_client demo

test: $(VENV)/.installed-test
	$(TESTS) $(PYTEST)

test-all: $(VENV)/.installed-test
	$(TESTS) --ci $(PYTEST)

# One process per file, because what a file's tests share is expensive.
test-ci: $(VENV)/.installed-test
	$(BIN)/python -m pytest --ci -m ci -n $(WORKERS) --dist loadfile $(PYTEST)

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

# From the sdist, so that the wheel shows whether the sdist is whole.
package: $(VENV)/.installed-package
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) .venv-3.* .venv-free-threaded .venv-oldest build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find sse_client tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Stamps: what has been installed is installed again only when the metadata changed.

$(VENV)/.created: | python
	$(PYTHON) -m venv $(VENV)
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo 'sse_client needs Python 3.10 or newer; try: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo '"$(PYTHON)" cannot make virtual environments. On Debian: apt install python3-venv' >&2; exit 1; }
	@test ! -x $(BIN)/python || \
	test "$$($(PYTHON) -c '$(VERSION)')" = "$$($(BIN)/python -c '$(VERSION)')" || { \
	    echo '$(VENV) was made with another Python: give VENV=, too, or run "make clean" first' >&2; exit 1; }

$(VENV)/.installed: $(VENV)/.created $(METADATA)
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created $(METADATA)
	$(PIP) install --editable '.[test,interop,peers]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.created $(METADATA)
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.created $(METADATA)
	$(PIP) install --editable '.[docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.created $(METADATA)
	$(PIP) install --editable '.[bench]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-package: $(VENV)/.created $(METADATA)
	$(PIP) install --editable '.[package]'
	@touch $@ $(VENV)/.installed
