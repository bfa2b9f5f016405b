# Every command a person or a pipeline types; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# `kubectl` of the embedded cluster and the engine's helpers look for programs on PATH.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# More words for the command that a target runs, such as: make up ARGS="--stack dev"
ARGS ?=
GO_MODULES := infra/local loadtest/mailserver tests/infra/compose_check
# The cluster's own modules are thin mains over Kubernetes, which takes minutes to vet.
GO_VETTED := loadtest/mailserver tests/infra/compose_check

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ The system
.PHONY: up
up: $(STAMP) ## Cluster, images, deployment, one e-mail shown delivered
	@$(PY) -m infra.deploy up $(ARGS)

.PHONY: status
status: $(STAMP) ## What runs, and where it answers
	@$(PY) -m infra.deploy status $(ARGS)

.PHONY: down
down: $(STAMP) ## Take it all away; leaves the machine as it was found
	@$(PY) -m infra.deploy down $(ARGS)

##@ Load
.PHONY: load
load: $(STAMP) ## The proof: workers 2 -> 10 -> 2 under real mail, nothing lost; a report in build/load
	@$(PY) -m loadtest.autoscale $(ARGS)

.PHONY: locust
locust: $(STAMP) ## Locust's web page on the running system; prints its URL
	@$(PY) -m loadtest.web $(ARGS)

.PHONY: chaos
chaos: $(STAMP) tools ## 20,000 e-mails while everything is killed, frozen and cut off; build/chaos/result.json
	@$(PY) -m loadtest.chaos $(ARGS)

.PHONY: chaos-cluster
chaos-cluster: $(STAMP) ## The same account on the running system: pods killed, an update rolled out under load
	@$(PY) -m loadtest.chaos.cluster $(ARGS)

.PHONY: soak
soak: $(STAMP) tools ## Ten minutes at a steady rate: memory of API, workers and Redis stays flat
	@$(PY) -m loadtest.soak $(ARGS)

.PHONY: bench
bench: $(STAMP) tools ## The queue beside ten others, on two pinned cores; figures and charts in build/bench
	@$(PY) -m loadtest.bench $(ARGS)

##@ Work on the code
.PHONY: test
test: $(STAMP) tools ## All tests: unit, program, services, and on the embedded cluster
	@$(PY) -m pytest tests/unit tests/infra tests/integration -n 2 --dist loadgroup $(ARGS)
	@$(PY) -m pytest tests/e2e $(ARGS)

.PHONY: test-fast
test-fast: $(STAMP) tools ## The tests that need no cluster
	@$(PY) -m pytest tests/unit tests/infra tests/integration -n 2 --dist loadgroup $(ARGS)

.PHONY: lint
lint: $(STAMP) ## ruff, pyright strict, yamllint, gofmt and go vet
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	@$(VENV)/bin/yamllint --strict .
	@$(VENV)/bin/pyright
	@unformatted=$$(gofmt -l $(GO_MODULES)); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted" >&2; exit 1; }
	@for module in $(GO_VETTED); do (cd $$module && go vet ./...) || exit 1; done

.PHONY: format
format: $(STAMP) ## Write the code in the one style
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

##@ Set up
.PHONY: venv
venv: $(STAMP) ## The virtual environment, from the pinned packages

$(STAMP): requirements/dev.txt pyproject.toml
	@echo "venv: installing the pinned packages (about a minute the first time)"
	@python3 -m venv $(VENV) 2>/dev/null \
	  || { echo "python3 cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.PHONY: tools
tools: $(STAMP) # what the tests start as real parts, beside what the embedded cluster installs
	@$(PY) -m tests.tools

.PHONY: pins
pins: $(STAMP) ## Resolve pyproject.toml again into requirements/*.txt
	@for group in api worker infra dev; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    --extra $$group pyproject.toml -o requirements/$$group.txt || exit 1; done
	@for peer in loadtest/bench/peers/requirements/*.in; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 \
	    $$peer -o $${peer%.in}.txt || exit 1; done
