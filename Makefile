# What a person needs: `make demo`, `make test`, `make check`. The rest is below.
# The virtual environment is made on first use and again when setup.py changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST_ARGS ?=
# What concerns the broker; but the embedded one is held to what RabbitMQ 3 does.
OF_VERSION_4 := -m rabbitmq --ignore=tests/bench --ignore-glob='*/contract/test_broker_*'
SOAK_ARGS ?=

# How often `make test` does the same again is enough to find what it finds; here it is done for a release.
TO_THE_FULL := REWORKER_FAULT_MOMENTS=100 REWORKER_SIEGE_STRIKES=20 REWORKER_API_EXAMPLES=100 \
  REWORKER_BUS_CUTS=100 REWORKER_IMAGE=1

# Without compiled modules every start of Python, and every test run, takes seconds longer.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all unit check format bench soak docs clean
.DELETE_ON_ERROR:

help: ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 10

demo: $(VENV)/.for-demo ## Run playbooks end to end with nothing but Python.
	$(BIN)/reworker demo

test: $(VENV)/.for-test ## Install what the tests need, then run all of them.
	@tests/services.sh
	$(BIN)/python $(if $(PYTEST_ARGS),-m pytest --ignore=tests/bench $(PYTEST_ARGS),tests/run.py)

test-all: $(VENV)/.for-test ## As test, with many more moments of failure and the image, then on RabbitMQ 4.0 and 4.3.
	@tests/services.sh
	@tests/brokers.sh
	$(TO_THE_FULL) $(BIN)/python -m pytest --ignore=tests/bench $(PYTEST_ARGS)
	REWORKER_RABBITMQ=4.0 $(BIN)/python -m pytest $(OF_VERSION_4) $(PYTEST_ARGS)
	REWORKER_RABBITMQ=4.3 $(BIN)/python -m pytest $(OF_VERSION_4) $(PYTEST_ARGS)

unit: $(VENV)/.for-test ## Run the tests that need no server and no socket.
	$(BIN)/python $(if $(PYTEST_ARGS),-m pytest tests/unit --hypothesis-profile=quick $(PYTEST_ARGS),tests/run.py unit)

check: $(VENV)/.for-check ## Check format, lint, types and architecture.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_architecture.py

format: $(VENV)/.for-check ## Format the code and repair what ruff can.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.for-bench ## Measure, print figures, and put them into docs/benchmarks.md.
	@tests/services.sh
	$(BIN)/python -m pytest tests/bench --capture=no --timeout=1800 $(PYTEST_ARGS)
	$(BIN)/python -m tests.bench.bench_step --write docs/benchmarks.md
	$(BIN)/python -m tests.bench.bench_jobs --write docs/benchmarks.md
	$(BIN)/python -m tests.bench.bench_worker --write docs/benchmarks.md
	$(BIN)/python -m tests.bench.bench_core --db sqlite postgres --write docs/benchmarks.md
	$(BIN)/python -m tests.bench.bench_codes --write docs/benchmarks.md
	$(BIN)/python -m tests.bench.bench_schedules

soak: $(VENV)/.for-test ## Load a worker for ten minutes and cut its connection 500 times.
	@tests/services.sh
	$(BIN)/python -m tests.bench.soak $(SOAK_ARGS)

docs: $(VENV)/.for-docs ## Build the documentation in docs/_build.
	$(BIN)/python -m sphinx --fail-on-warning --quiet docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean: ## Remove the virtual environment and all that was built.
	rm -rf $(VENV) build dist docs/_build *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find reworker replugin tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp per purpose, so that the demo does not wait for the test tools.
$(VENV)/.for-demo: EXTRAS := server
$(VENV)/.for-test: EXTRAS := server,test
$(VENV)/.for-check: EXTRAS := server,test,check
$(VENV)/.for-bench: EXTRAS := server,test,bench
$(VENV)/.for-docs: EXTRAS := server,docs

$(VENV)/.for-%: setup.py $(VENV)/.made
	@echo "installing reworker[$(EXTRAS)] into $(VENV)"
	@$(PIP) install --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "reworker needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || PYTHON=$(PYTHON) tests/services.sh venv
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python has no venv module here; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
