# make check   fast: lint, types, import rules and the quick tests
# make test    everything: the above, all tests, and the SDK tests against the previous major version of openai
# make matrix  every SDK and framework, in every form, with every ending of a stream: billed against recorded, as a table
# make demo    the real OpenAI SDK against a provider simulated on loopback: no key needed
# make bench   what a metered call costs
# make picture docs/dashboard.svg, from a run of a minute (needs prometheus)
# make format  let ruff fix and format
# make clean   remove what these made
#
# Each makes its own virtual environment. Another interpreter: make PYTHON=python3.13 ...

PYTHON ?= python3
BIN = .venv/bin
PYTEST = -m pytest -n auto

.DEFAULT_GOAL = check
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: check test matrix demo bench picture format clean lint types pyright tests-quick tests-all tests-openai2

# $(call install,FOLDER,WHAT): a virtual environment with this checkout and WHAT in it
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "budgeted needs Python 3.11 or newer, and '$(PYTHON)' is not one. Name another: make PYTHON=python3.13 ..." >&2; \
	exit 1; }
@echo "installing into $(1)"
@$(PYTHON) -m venv $(1)
@$(1)/bin/python -m pip --disable-pip-version-check install --quiet --quiet --editable $(2)
endef

.venv/.ready: pyproject.toml
	$(call install,.venv,".[dev]")
	@touch $@

.venv-openai2/.ready: pyproject.toml
	$(call install,.venv-openai2,".[test]" "openai~=2.0")
	@touch $@

.venv-matrix/.ready: pyproject.toml
	$(call install,.venv-matrix,".[matrix]")
	@touch $@

.venv-matrix-openai2/.ready: pyproject.toml
	$(call install,.venv-matrix-openai2,".[matrix-openai2]")
	@touch $@

.venv-matrix-litellm/.ready: pyproject.toml
	$(call install,.venv-matrix-litellm,".[matrix-litellm]")
	@touch $@

check: lint types tests-quick
test: lint types pyright tests-all tests-openai2

lint: .venv/.ready
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/lint-imports --no-logo

types: .venv/.ready
	$(BIN)/mypy

pyright: .venv/.ready
	$(BIN)/pyright

tests-quick: .venv/.ready
	$(BIN)/python $(PYTEST) -m "not slow and not matrix"

tests-all: .venv/.ready
	$(BIN)/python $(PYTEST) -m "not matrix"

tests-openai2: .venv-openai2/.ready
	.venv-openai2/bin/python $(PYTEST) -m "sdk and not matrix"

# All tables are printed, whatever the first one says. --quiet: the table is the report.
TABLE = $(PYTEST) --quiet --table tests/sdk/matrix
matrix: .venv-matrix/.ready .venv-matrix-openai2/.ready .venv-matrix-litellm/.ready
	@failed=0; \
	.venv-matrix/bin/python $(TABLE) || failed=1; \
	.venv-matrix-openai2/bin/python $(TABLE) || failed=1; \
	.venv-matrix-litellm/bin/python $(TABLE) -k litellm || failed=1; \
	exit $$failed

demo: .venv/.ready
	$(BIN)/python demo/demo.py

bench: .venv/.ready
	$(BIN)/python -m benchmarks

picture: .venv/.ready
	$(BIN)/python scripts/picture.py

format: .venv/.ready
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format

clean:
	rm -rf .venv .venv-openai2 .venv-matrix .venv-matrix-openai2 .venv-matrix-litellm .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist
	find src tests benchmarks demo -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
