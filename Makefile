# make check   fast: lint, types, import rules and the quick tests
# make test    everything: the above, the documentation's site, all tests, the SDK tests against the previous major version of openai, and tests-net,
#              tests-litellm-proxy
# make tests-net  what sends to providers without an SDK that we hook: other clients, and HTTP by hand
# make tests-litellm-proxy  LiteLLM's proxy with our handler: the real one, as one process and as two
# make matrix  every SDK and framework, in every form, with every ending of a stream: billed against recorded, as a table
# make matrix-newest  the tests of the SDKs and that table, on the newest version of each SDK, as it is today
# make tests-pythons  the quick tests on every other CPython from 3.11 on that this machine has
# make tests-newest   those that need no SDK, on the newest of them alone
# make proof   attacks on the ledgers, each repeatable by its seed, as a table; LONG=1, or make proof-long: the long form
# make demo    the race of `budgeted demo`, through the real OpenAI SDK: no key needed
# make bench   what a metered call costs, at the end beside other packages, as a table and a chart; BENCH="peers sql": only these;
#              beside LiteLLM's proxy after `make .venv-gateway-rivals/.ready`
# make bench-documents  that table and chart into the README and the documentation
# make picture docs/pictures, of a page that a real run fills (needs chromium)
# make page-figures  how heavy and how fast each view of the page is, and what axe finds
# make dist    the files of a release, in dist: made twice alike, checked, and tried in an environment of their own
# make docs    the documentation's site, in site/: strict, so that a link that leads nowhere fails; docs-serve: as one writes
# make tables  the tables of the reference that are made from the code, written into their pages
# make format  let ruff fix and format
# make clean   remove what these made
#
# Each makes its own virtual environment. Another interpreter, in an environment of its own beside the usual one:
# make PYTHON=python3.13 VENV=.venv-3.13 ...
#
# SKIPS_FAIL=1 in the environment: a test that is skipped, for what this machine has not got, fails.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Each worker has its share from the beginning and takes from another's when it has done: what is made once for a module is
# not made in two of them, as it is where they take turns.
PYTEST = -m pytest -n auto --dist worksteal

# Else each of the many processes that tests start would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL = check
.DELETE_ON_ERROR:
# One after the other, but for what `beside` starts.
ifndef BESIDE
.NOTPARALLEL:
endif
.PHONY: check checks test matrix matrix-newest proof proof-long demo bench bench-documents picture page-figures dist docs docs-serve tables format clean
.PHONY: lint types pyright tests-quick tests-core tests-all tests-openai2 tests-others tests-net tests-litellm-proxy
.PHONY: tests-pythons tests-newest

# $(call beside,TARGETS): side by side. What each has to say comes as a whole when it has ended, and all end, whatever one says.
define beside
@$(MAKE) --no-print-directory --keep-going --jobs=$(words $(1)) $(if $(filter output-sync,$(.FEATURES)),--output-sync) \
	BESIDE=1 $(1)
endef

# $(call install,GROUP): a virtual environment, in the target's folder, with this checkout and a group of pyproject.toml.
# The pip that comes with a Python may be too old to know groups.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "budgeted needs Python 3.11 or newer, and '$(PYTHON)' is not one. Name another: make PYTHON=python3.13 ..." >&2; \
	exit 1; }
@echo "installing into $(@D)"
@$(PYTHON) -m venv $(@D)
@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --quiet --upgrade "pip>=25.1"
@$(@D)/bin/python -m pip install --quiet --quiet --editable ".[all]" --group $(1)
@touch $@
endef

$(VENV)/.ready: pyproject.toml
	$(call install,dev)

# What the proof needs besides: a few packages more in the same environment.
$(VENV)/.proof-ready: $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --quiet --group proof
	@touch $@

# What is measured beside: packages of others, which go together with all of ours.
$(VENV)/.bench-ready: $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --quiet --group peers
	@touch $@

.venv-openai2/.ready: pyproject.toml
	$(call install,test-openai2)

.venv-matrix/.ready: pyproject.toml
	$(call install,matrix)

.venv-matrix-openai2/.ready: pyproject.toml
	$(call install,matrix-openai2)

.venv-matrix-litellm/.ready: pyproject.toml
	$(call install,matrix-litellm)

.venv-matrix-frameworks/.ready: pyproject.toml
	$(call install,matrix-frameworks)

.venv-matrix-frameworks-openai2/.ready: pyproject.toml
	$(call install,matrix-frameworks-openai2)

.venv-net/.ready: pyproject.toml
	$(call install,net)

.venv-docs/.ready: pyproject.toml
	$(call install,docs)

# Without this checkout: another program, beside which the gateway is measured.
.venv-gateway-rivals/.ready: pyproject.toml
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --quiet --upgrade "pip>=25.1"
	@$(@D)/bin/python -m pip install --quiet --quiet --group gateway-rivals
	@touch $@

.venv-litellm-proxy/.ready: pyproject.toml
	$(call install,litellm-proxy)

check: lint types tests-quick
test: checks tests-all tests-openai2 tests-others

checks:
	$(call beside,lint types pyright docs)

# They wait more than they work.
tests-others:
	$(call beside,tests-net tests-litellm-proxy)

lint: $(VENV)/.ready
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/lint-imports --no-logo

# On the other systems as well: what they have not got is found nowhere else. Side by side, each with a cache of its own.
types: $(VENV)/.ready
	@for system in linux win32 darwin; do \
		$(BIN)/mypy --platform $$system --cache-dir .mypy_cache/$$system & running="$$running $$!"; \
	done; \
	failed=0; for one in $$running; do wait $$one || failed=1; done; exit $$failed

pyright: $(VENV)/.ready
	$(BIN)/pyright

tests-quick: $(VENV)/.ready
	$(BIN)/python $(PYTEST) -m "not slow and not matrix"

# Not those of what is the same with every version of Python: bills, and what servers and frameworks answer.
tests-core: $(VENV)/.ready
	$(BIN)/python $(PYTEST) -m "not slow and not matrix and not sdk" $(addprefix --ignore=tests/,bills server web)

tests-all: $(VENV)/.ready
	$(BIN)/python $(PYTEST) -m "not matrix"

# What calls openai, directly or through others: the rest is the same with every version of it.
tests-openai2: .venv-openai2/.ready
	.venv-openai2/bin/python $(PYTEST) -m "sdk and not matrix" tests/sdk tests/test_interrupts.py \
		$(addprefix --ignore=tests/sdk/test_,anthropic.py anthropic_middleware.py child_processes.py \
		claude_agent_sdk.py claude_code.py)

tests-net: .venv-net/.ready
	.venv-net/bin/python $(PYTEST) tests/net

# In one process: each would start proxies of its own.
tests-litellm-proxy: .venv-litellm-proxy/.ready
	.venv-litellm-proxy/bin/python -m pytest tests/litellm_proxy

ON_tests-pythons = tests-quick
ON_tests-newest = tests-core
tests-pythons tests-newest:
	@pythons=$$($(PYTHON) scripts/other_pythons.py $(if $(filter tests-newest,$@),--newest)) || exit 1; \
	[ -n "$$pythons" ] || echo "no other CPython from 3.11 on is here"; \
	for python in $$pythons; do \
		minor=$$($$python -c 'import sys; print(sys.version_info.minor)') && \
		echo "with $$python" && \
		VENV=.venv-3.$$minor && \
		$(MAKE) --no-print-directory PYTHON=$$python VENV=$$VENV \
			$(ON_$@) || exit 1; \
	done

# All tables are printed, whatever the first one says. --quiet: the table is the report.
TABLE = $(PYTEST) --quiet --table tests/sdk/matrix
matrix: .venv-matrix/.ready .venv-matrix-openai2/.ready .venv-matrix-litellm/.ready \
	.venv-matrix-frameworks/.ready .venv-matrix-frameworks-openai2/.ready
	@failed=0; \
	.venv-matrix/bin/python $(TABLE) || failed=1; \
	.venv-matrix-openai2/bin/python $(TABLE) || failed=1; \
	.venv-matrix-litellm/bin/python $(TABLE) -k litellm || failed=1; \
	.venv-matrix-frameworks/bin/python $(TABLE) --frameworks || failed=1; \
	.venv-matrix-frameworks-openai2/bin/python $(TABLE) --frameworks || failed=1; \
	exit $$failed

# Upgraded each time. uv, as pip gives up where packages disagree about one that none of the tests is about.
NEWEST = .venv-newest/bin
matrix-newest:
	$(PYTHON) -m venv .venv-newest
	$(NEWEST)/python -m pip --disable-pip-version-check install --quiet --upgrade uv
	echo certifi >.venv-newest/overrides.txt
	$(NEWEST)/python scripts/unbounded_requirements.py sdks >.venv-newest/requirements.txt
	$(NEWEST)/uv pip install --quiet --python $(NEWEST)/python --upgrade --override .venv-newest/overrides.txt \
		--editable ".[all]" --group newest --requirements .venv-newest/requirements.txt
	@failed=0; \
	$(NEWEST)/python $(PYTEST) -m "sdk and not matrix" || failed=1; \
	$(NEWEST)/python $(TABLE) || failed=1; \
	exit $$failed

# PROOF: more arguments, as in make proof PROOF="--part simulator --seed 7"
proof: $(VENV)/.proof-ready
	$(BIN)/python -m proof $(if $(LONG),--long) $(PROOF)

proof-long: $(VENV)/.proof-ready
	$(BIN)/python -m proof --long $(PROOF)

demo: $(VENV)/.ready
	$(BIN)/python demo/demo.py

bench: $(VENV)/.bench-ready
	$(BIN)/python -m benchmarks $(BENCH)

bench-documents: $(VENV)/.bench-ready
	$(BIN)/python -m benchmarks.peer_documents

picture: $(VENV)/.ready
	$(BIN)/python scripts/picture.py

page-figures: $(VENV)/.ready
	$(BIN)/python scripts/page_figures.py

# Without this checkout, whose files would be found in the place of those that are tried.
.venv-release/.ready: pyproject.toml
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet --quiet --upgrade "pip>=25.1"
	@$(@D)/bin/python -m pip install --quiet --quiet --group release
	@touch $@

dist: .venv-release/.ready
	rm -rf dist
	.venv-release/bin/python -m build --outdir dist
	.venv-release/bin/twine check --strict dist/*
	.venv-release/bin/check-wheel-contents dist/*.whl
	.venv-release/bin/python scripts/check_distribution.py dist

# The variable: no notice on what a next version of mkdocs may break; the one we have is held in pyproject.toml.
docs: .venv-docs/.ready
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

docs-serve: .venv-docs/.ready
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs serve

tables: $(VENV)/.ready
	$(BIN)/python -m scripts.reference_tables

format: $(VENV)/.ready
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format

clean:
	rm -rf .agents .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist site
	find src tests benchmarks proof demo -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
