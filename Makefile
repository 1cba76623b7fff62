# make demo    the loss landscape of a real network, in the browser
# make test    everything that can be checked, on a machine with nothing but Python and make
#
# PYTHON       the Python to build the environment with (>= 3.11)
# TORCH_INDEX  a package index with another build of torch, for example https://download.pytorch.org/whl/cpu
# CHROMIUM     the browser of the tests, where it is not on PATH
# PORT         port of the demo

PYTHON ?= python3
TORCH_INDEX ?=
PORT ?=
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

ENV := .venv
PY := $(ENV)/bin/python
BUNDLE := landscape_widget/view/static/widget.js
JS_SOURCES := js/build.mjs js/package.json js/package-lock.json $(shell find js/src -type f 2>/dev/null)
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Commands of the environment first: node and npm are among them where the system has none.
export PATH := $(CURDIR)/$(ENV)/bin:$(PATH)

.PHONY: help
help: ## say what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# ----------------------------------------------------------------------------------------------------- to use it

.PHONY: demo
demo: $(ENV)/.app ## serve the demo and open it in a browser
	@$(PY) -m landscape_widget demo $(if $(PORT),--port $(PORT))

.PHONY: lab
lab: $(ENV)/.app ## open JupyterLab on the first notebook
	@$(PY) -m jupyterlab notebooks/01_quickstart.ipynb --ServerApp.ip=127.0.0.1 \
	  $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: build
build: $(ENV)/.app ## write the wheel and the sdist to dist/
	@rm -rf dist
	@$(PY) -m hatchling build

.PHONY: clean
clean: ## remove everything that make has made
	rm -rf $(ENV) js/node_modules landscape_widget/view/static dist .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache
	find landscape_widget tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------------- to work on it

.PHONY: test
test: test-python test-js ## run every test: Python, notebooks, real JupyterLab and Voila, JavaScript

.PHONY: test-python
test-python: $(ENV)/.dev browser
	$(PY) -m pytest
	$(PY) -m pytest --nbmake notebooks

.PHONY: test-js
test-js: $(ENV)/.dev browser
	cd js && npm test

.PHONY: check
check: $(ENV)/.dev ## run the fast checks: ruff, import-linter, pyright, tsc, biome
	ruff check
	ruff format --check
	lint-imports
	pyright
	cd js && npm run check

.PHONY: screenshots
screenshots: $(ENV)/.dev browser ## take the README's pictures anew
	$(PY) tests/browser/screenshots.py

.PHONY: browser
browser: $(ENV)/.dev
	@$(PY) tests/browser/chromium.py --install

# --------------------------------------------------------------------------------------------------- the environment

# Each stamp is newer than what its step was made from, so that a second make starts at once.
$(ENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no $(PYTHON) here. On Debian and Ubuntu: apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
	       "Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) comes without the venv module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(ENV) ..."
	@$(PYTHON) -m venv $(ENV)
	@touch $@

# What builds the page and the package: hatchling, and Node from PyPI where the system has none that is recent enough.
$(ENV)/.build-tools: $(ENV)/.made constraints.txt
	@$(PIP_INSTALL) hatchling editables
	@$(PY) -c 'import hatch_build, sys; sys.exit(hatch_build.find_npm() is None)' || { \
	  echo "Installing Node from PyPI ..."; \
	  $(PIP_INSTALL) "$$($(PY) -c 'import hatch_build; print(hatch_build.NODE_FROM_PYPI)')"; }
	@touch $@

$(BUNDLE): $(JS_SOURCES) | $(ENV)/.build-tools
	@echo "Building the page ..."
	@$(PY) hatch_build.py

$(ENV)/.app: pyproject.toml constraints.txt hatch_build.py $(ENV)/.build-tools | $(BUNDLE)
	@echo "Installing landscape-widget (the first time this takes some minutes: torch is large) ..."
	@$(PIP_INSTALL) --no-build-isolation -e '.[app,plot]'
	@touch $@

$(ENV)/.dev: $(ENV)/.app | $(BUNDLE)
	@echo "Installing what the tests need ..."
	@$(PIP_INSTALL) --no-build-isolation -e '.[dev]'
	@touch $@
