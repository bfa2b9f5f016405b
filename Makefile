# Task queue: every command a person or a pipeline types. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set up
$(STAMP): requirements/dev.txt pyproject.toml
	@echo "venv: installing the pinned packages (about a minute the first time)"
	@python3 -m venv $(VENV) 2>/dev/null || { echo "python3 -m venv failed: apt-get install python3-venv"; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.PHONY: venv
venv: $(STAMP) ## Make the virtual environment from the pinned packages

.PHONY: pins
pins: ## Write requirements/*.txt again from pyproject.toml
	@for group in api worker infra dev; do \
	  $(VENV)/bin/uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra $$group pyproject.toml -o requirements/$$group.txt || exit 1; done
