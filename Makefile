# Everything here sets itself up in .venv; all it needs is Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin
# The rules, the facts and their codecs: every branch is tested.
WHOLLY_TESTED := massgen/coordination.py,massgen/state.py,massgen/events.py,massgen/log/__init__.py,massgen/log/codec.py,massgen/config/__init__.py,massgen/config/loading.py,massgen/config/layers.py,massgen/config/yaml_tree.py
# Servers and a client from npm that the tests of tools use, where there is npm.
PACKAGES := $(if $(shell command -v npm),$(patsubst %,tests/%/node_modules/.package-lock.json,toolbox inspector))
# Tests start massgen hundreds of times: none shall compile it again.
export PYTHONDONTWRITEBYTECODE :=
QUESTION ?= A train goes 60 km in 1.5 hours. What is its average speed?

.PHONY: demo test check types static packages fix bench docs docs-test docs-browser docs-serve docs-update clean

demo: .venv/local  ## a team of three answers a question on the embedded model
	$(BIN)/massgen --config @examples/quickstart "$(QUESTION)"

test: .venv/dev $(PACKAGES)  ## every test, with coverage
	$(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term
	$(BIN)/coverage report --fail-under=100 --include="$(WHOLLY_TESTED)"

check: .venv/dev  ## the whole bar: what CI runs
	$(MAKE) --no-print-directory --jobs=3 types static $(ALSO)
	$(MAKE) --no-print-directory test
	$(BIN)/python -m pytest -q -n auto -m install tests/test_install_lines.py

types:
	$(BIN)/pyright

static:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python -m tests.handbook.generate --check

fix: .venv/dev  ## format, and mend what can be mended by itself
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: .venv/dev  ## measure against the physical limit and peers, as ratios
	$(BIN)/python -m benchmarks $(BENCH)

docs: .venv/dev  ## build the handbook's site, strictly, into site/, and follow its links
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict
	$(BIN)/python -m tests.handbook.links site

docs-test: .venv/dev $(PACKAGES)  ## run every line of the handbook that can be run, and look up every name
	$(BIN)/python -m pytest -q tests/test_handbook.py

docs-browser: docs tests/browser/node_modules/.package-lock.json  ## the site in Chromium: axe, Lighthouse, search, recordings, diagrams
	SITE=site $(BIN)/python -m pytest -q tests/browser

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json | .venv/dev
	@$(BIN)/python -c 'import sys; from tests.browser.needs import HERE, missing; sys.exit("\n".join(missing(modules=HERE)) or 0)'
	npm ci --no-audit --no-fund --prefix tests/browser
	touch $@

packages: $(PACKAGES)

$(PACKAGES): %/node_modules/.package-lock.json: %/package-lock.json
	npm ci --no-audit --no-fund --prefix $*
	touch $@

docs-serve: .venv/dev  ## the handbook at http://localhost:8000, anew at every change
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs serve

docs-update: .venv/dev  ## write generated pages, recordings, diagrams, then the outputs that pages show, and show what changed
	$(BIN)/python -m tests.handbook.casts
	$(BIN)/python -m tests.case_studies pages
	$(BIN)/python -m tests.browser.diagrams
	$(BIN)/python -m tests.handbook update
	git --no-pager diff --stat -- handbook theme README.md

clean:
	rm -rf .venv .bench build dist .pytest_cache .ruff_cache .hypothesis .coverage*

.venv/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "massgen needs Python 3.11 or newer; this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=26" # the one that Python brings takes twice as long
	touch $@

.venv/local: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable ".[local]"
	touch $@

.venv/dev: .venv/pip pyproject.toml
	$(BIN)/python -m pip install --quiet --no-compile --constraint tests/constraints.txt --editable ".[local,dev]"
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true # by every core; what is for another Python fails
	touch $@ .venv/local
