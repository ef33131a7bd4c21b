# Needs Python 3.11 or newer, make and a package registry. PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

RUN := PYTHONPATH=functions:. $(BIN)/python -m

.DEFAULT_GOAL := help
.PHONY: help run demo logs clean test test-fast test-system test-proofs test-lambda check simulate simulate-window model mutations race kill compose-check \
  bench-drain bench-operations bench-throughput bench-cold bench-api bench-isolation bench-costs tools clients policy secrets audit build sbom lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(INSTALLED) ## start the whole service here; Ctrl-C stops it and keeps its state
	@exec $(BIN)/python -m infra.local.run

demo: $(INSTALLED) ## send a burst of 60 and check the guarantees, in compressed time; SLOW=1 runs in real time
	@exec $(BIN)/python -m infra.demo

logs: $(INSTALLED) ## follow the log lines of all three functions; ID= for one request
	@exec $(BIN)/python -m infra.local.logs $(if $(ID),--id $(ID))

clean: ## delete the local state
	rm -rf .local

test-fast: $(INSTALLED) ## run the unit, contract and component tests
	$(BIN)/pytest -q tests/unit tests/contract tests/component

test: $(INSTALLED) ## run all tests that need no Docker
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-system test-proofs

# These tests mostly wait, so four files run side by side. Each has its own stacks, on free ports.
test-system: $(INSTALLED) ## run the tests with real processes and sockets
	$(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder tests/system

# These tests never wait. They use the processor time that the others leave.
test-proofs: $(INSTALLED) ## run the fast tests, the proofs and the benchmarks' tests
	nice -n 19 $(BIN)/pytest -q -n 2 tests/unit tests/contract tests/component proofs benchmarks --ignore proofs/mutations

LAMBDA_PYTHON ?= python3.13

test-lambda: $(INSTALLED) ## run the tests that need no stack on Lambda's Python; LAMBDA_PYTHON=/path/to/python3.13
	@$(BIN)/uv venv --quiet --allow-existing --no-python-downloads --python $(LAMBDA_PYTHON) $(VENV)/lambda
	@$(BIN)/uv pip sync --quiet --python $(VENV)/lambda/bin/python --require-hashes requirements.lock
	$(VENV)/lambda/bin/python -m pytest -q tests/unit tests/component tests/contract

check: $(INSTALLED) ## lint, format, types, template, secrets, known vulnerabilities
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/cfn-lint template.yaml
	@$(MAKE) --no-print-directory secrets audit

simulate: $(INSTALLED) ## simulate the whole service under faults; SEEDS=1000
	$(RUN) proofs.simulation --seeds $(or $(SEEDS),1000)

simulate-window: $(INSTALLED) ## run the window for 10,000 simulated hours under faults; HOURS= SEEDS=
	$(RUN) proofs.simulation.window_run --hours $(or $(HOURS),10000) --seeds $(or $(SEEDS),200)

model: $(INSTALLED) ## search every order of events in a small world, with and without each guard
	$(RUN) proofs.model

mutations: $(INSTALLED) ## put faults into the code, and check that the tests find each
	$(BIN)/pytest -q -n 2 proofs/mutations

race: $(INSTALLED) ## 20 processes race for slots on the embedded DynamoDB
	$(RUN) tests.system.race

kill: $(INSTALLED) ## kill workers, queues and the emulator for real, and count what is lost
	$(RUN) tests.system.kill

compose-check: $(INSTALLED) ## send 60 requests to the running containers; RESTARTS=1 restarts each meanwhile
	$(RUN) tests.system.compose $(if $(RESTARTS),--restarts)

bench-drain: $(INSTALLED) ## measure the scheduling beside its references, in simulated time
	$(RUN) benchmarks.drain

bench-operations: $(INSTALLED) ## count DynamoDB operations for each accepted request, by backlog, in simulated time
	$(RUN) benchmarks.operations

bench-throughput: $(INSTALLED) ## measure the processor in dense windows, beside a crowd and after kills, in simulated time
	$(RUN) benchmarks.throughput

bench-cold: $(INSTALLED) tools ## measure a cold start in Lambda's own runtime
	$(RUN) benchmarks.cold

bench-api: $(INSTALLED) ## measure the API's answers through the gateway and through uvicorn
	$(RUN) benchmarks.api

bench-isolation: $(INSTALLED) ## measure what one caller can do to another, in simulated time and on the embedded stack
	$(RUN) benchmarks.isolation

bench-costs: $(INSTALLED) ## count what requests cost on AWS, in real time (half an hour); FAST=1 compresses it
	$(RUN) benchmarks.costs $(if $(FAST),--fast)

# In a separate environment: they pin other versions of the project's packages.
TOOLS := aws-sam-cli==1.170.0 awslambdaric==4.2.2

tools: $(INSTALLED) ## install what tests of the built functions need
	@test -x $(VENV)/tools/bin/python || $(BIN)/python -m venv --without-pip $(VENV)/tools
	@$(BIN)/uv pip install --quiet --python $(VENV)/tools/bin/python $(TOOLS)

GENERATORS := openapi-python-client==0.29.1 openapi-generator-cli==7.22.0

clients: $(INSTALLED) ## generate clients from the OpenAPI document and run them; needs Node and Java
	@$(BIN)/uv venv --quiet --allow-existing $(VENV)/clients
	@$(BIN)/uv pip install --quiet --python $(VENV)/clients/bin/python $(GENERATORS)
	@cp tests/system/clients/package*.json $(VENV)/clients && cd $(VENV)/clients && npm ci --silent
	$(BIN)/pytest -q tests/system/test_clients.py

policy: tools ## validate and scan the template; .checkov.yaml explains each exception
	@SAM_CLI_TELEMETRY=0 $(VENV)/tools/bin/sam validate --lint --region us-east-1
	@$(BIN)/uv tool run checkov==3.3.30 --config-file .checkov.yaml

secrets: $(INSTALLED) ## scan the working tree for keys; REVIEWED=1 accepts the findings
	@$(BIN)/python -m infra.secret_scan $(if $(REVIEWED),--reviewed)

audit: $(INSTALLED) ## check the locked packages for known vulnerabilities, if the service can be reached
	@$(BIN)/python -m infra.audit

# sam passes PLATFORM, if it is set, to functions/Makefile.
SAM ?= $(or $(shell command -v sam),$(VENV)/tools/bin/sam)

build: $(INSTALLED) $(if $(shell command -v sam),,tools) ## build the functions for Lambda, with an SBOM of each; PLATFORM=aarch64-manylinux_2_28 for arm64
	@PATH="$(abspath $(BIN)):$$PATH" $(SAM) build
	@$(MAKE) --no-print-directory sbom

sbom: $(INSTALLED) ## write an SBOM of each function (CycloneDX) to .aws-sam
	@mkdir -p .aws-sam
	@for function in api processor notifier; do \
	  $(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements functions/$$function/requirements.txt \
	    --output-file .aws-sam/$$function.cdx.json || exit; \
	done

# pip installs uv, with the hashes in the lock file.
$(INSTALLED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@echo "installing into $(VENV), once per lock file"
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/# via/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	@touch $@

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url

lock: $(INSTALLED) ## compile the lock files again; UPGRADE=--upgrade takes newer versions
	$(COMPILE) $(UPGRADE) --extra dev pyproject.toml -o requirements.lock
	for function in api processor notifier; do \
	  $(COMPILE) --extra $$function -c requirements.lock pyproject.toml -o functions/$$function/requirements.txt || exit; \
	done
	$(COMPILE) $(UPGRADE) infra/local/emulator.in -o infra/local/emulator.lock
	$(COMPILE) -c requirements.lock infra/docker/requirements.in -o infra/docker/requirements.lock
