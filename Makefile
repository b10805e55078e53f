# Everything a person or CI runs. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
# The newest installed Python, 3.11 or later; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# Nothing that runs here sends usage data to MLflow's developers.
export MLFLOW_DISABLE_TELEMETRY ?= true

# Containers often set this variable. Without bytecode files, every start would compile thousands of modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup page docs dev studio traces test test-page test-docs kills equality fuzz check lint types bench bench-index bench-page batch eval eval-baseline eval-retrieval lock release deploy clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

PAGE := src/graph_agent/page
PAGE_SOURCES := $(shell find page -name node_modules -prune -o -type f ! -name '*.test.*' -print)

setup: $(VENV)/.ready $(PAGE)/.tried ## Make the environment in .venv, from the hashed locks, and build the chat page

$(VENV)/.ready: requirements-dev.txt requirements-uv.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "graph-agent needs Python 3.11 or later; install it, or run make PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "python could not make a virtual environment; on Debian: apt install python3-venv"; exit 1; }
	@echo "installing into $(VENV) with $$($(BIN)/python --version) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --require-hashes -r requirements-dev.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python src/graph_agent/project_template/scripts/names.py install
	@touch $@

page: $(VENV)/.ready page/node_modules/.ready ## Build the chat page
	@echo "building the chat page ..."
	@page/npm run --silent build -- --logLevel error
	@touch $(PAGE)/.tried

page/node_modules/.ready: page/package-lock.json page/package.json page/.npmrc | $(VENV)/.ready
	@echo "installing what builds the chat page ..."
	@page/npm ci --ignore-scripts --loglevel error
	@touch $@

# Once for each change of the sources, and without failing: the service works without its page, and says at `/` how to
# build it.
$(PAGE)/.tried: $(PAGE_SOURCES) $(VENV)/.ready
	@$(MAKE) --no-print-directory page || \
		{ echo "the chat page is not built, and everything else works; try again with: make page"; mkdir -p $(PAGE); }
	@touch $@

DOCS := src/graph_agent/documentation
DOCS_SOURCES := mkdocs.yml CHANGELOG.md $(shell find docs site -name '.*' -prune -o -name __pycache__ -prune -o -type f -print)
docs: $(VENV)/.ready ## Build the documentation, which the service serves at /docs; fails at a broken link
	@echo "building the documentation ..."
	@# Not --quiet: it hides warnings also from --strict.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site/.build >site/.log 2>&1 || { cat site/.log; exit 1; }
	@rm -rf $(DOCS) && mv site/.build $(DOCS)
	@touch site/.tried

# As with the chat page, the service works without it.
site/.tried: $(DOCS_SOURCES) $(VENV)/.ready
	@$(MAKE) --no-print-directory docs || \
		echo "the documentation is not built, and everything else works; try again with: make docs"
	@touch $@

dev: setup site/.tried ## Set up everything, then serve with the local workspace, reloading edited graphs
	@$(BIN)/graph-agent dev

STUDIO := .venv-studio
studio: setup $(STUDIO)/.ready ## Start LangGraph Studio's server on the same graphs, with the local workspace
	@$(BIN)/graph-agent studio $(if $(PORT),--port $(PORT))

# A separate environment, because langgraph-api needs older protobuf and grpcio than the service.
$(STUDIO)/.ready: requirements-studio.txt pyproject.toml | setup
	@test -x $(STUDIO)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(STUDIO)
	@VIRTUAL_ENV=$(CURDIR)/$(STUDIO) $(BIN)/uv pip install --quiet --require-hashes -r requirements-studio.txt \
		--build-constraints requirements-studio.txt
	@VIRTUAL_ENV=$(CURDIR)/$(STUDIO) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

traces: setup ## Show the local traces in MLflow's own pages
	@$(BIN)/graph-agent traces $(if $(PORT),--port $(PORT))

# More processes than most machines have processors: half of the time of a test it waits for something.
test: setup page/node_modules/.ready $(STUDIO)/.ready ## Run the tests, including those of the local model
	@$(BIN)/graph-agent model
	@page/npm run --silent test
	@$(BIN)/pytest -n 6 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-page: setup ## Run the tests of the page in a browser
	@$(BIN)/pytest tests/page -n 2 --dist loadfile --max-worker-restart 0

test-docs: setup docs ## Run the tutorials and the examples of the documentation
	@$(BIN)/graph-agent model >/dev/null
	@$(BIN)/pytest tests/documentation -n 2 --dist loadfile --max-worker-restart 0

kills: setup ## Kill the processes of 200 runs in the middle of them; KILLS=500 takes more runs
	@KILLS=$(or $(KILLS),100) $(BIN)/pytest tests/durable/test_kills.py tests/durable/test_steered_kills.py -n 2 --dist load --max-worker-restart 0 -rP -q

equality: setup ## Compare the streams of 5,000 random graphs with LangGraph's own; GRAPHS=500 takes less, FIRST=1000 others
	@PYTHONPATH=. $(BIN)/python tests/runs/equality.py $(if $(GRAPHS),--graphs $(GRAPHS)) $(if $(FIRST),--first $(FIRST))

fuzz: setup ## Send generated requests and messages to every address for minutes; EXAMPLES=500 MESSAGES=9000 more, SEED=2 others
	@$(BIN)/python tests/serving/fuzzing.py $(if $(EXAMPLES),--examples $(EXAMPLES)) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python tests/serving/fuzzing_messages.py $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SEED),--seed $(SEED))

check: lint types test ## Run lint, types and tests

lint: setup page/node_modules/.ready ## Check the style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@page/npm run --silent lint

types: setup page/node_modules/.ready ## Check the types
	@$(BIN)/mypy
	@page/npm run --silent types

bench: setup ## Compare with bare Starlette, bare LangGraph and MLflow AgentServer, side by side
	@$(BIN)/python -m bench

bench-index: setup ## Measure searches of a local index with 125,000 made-up passages; PASSAGES="1000 10000" other sizes
	@$(BIN)/python -m bench.index_search $(if $(PASSAGES),--passages $(PASSAGES))

bench-page: setup page/node_modules/.ready ## Measure the chat page in a browser; FACTOR=1 streams at real speed, TOKENS=5000 less
	@$(BIN)/python -m bench.page $(if $(FACTOR),--factor $(FACTOR)) $(if $(TOKENS),--tokens $(TOKENS)) $(if $(ROWS),--rows "$(ROWS)")

BATCH := examples/batch
BATCH_PYTHON := $(CURDIR)/$(BATCH)/.venv/bin/python
batch: setup ## Log a model, and score 1,000 questions with it on local Spark; needs Java 17
	@command -v java >/dev/null || { echo "Spark needs Java 17 or later; on Debian: apt install openjdk-17-jre-headless"; exit 1; }
	@test -x $(BATCH_PYTHON) || $(BIN)/uv venv --quiet --python $(BIN)/python $(BATCH)/.venv
	@$(BIN)/uv pip install --quiet --python $(BATCH_PYTHON) --no-deps --require-hashes -r $(BATCH)/requirements.txt
	@mkdir -p $(BATCH)/out && cd $(BATCH)/out && export MLFLOW_TRACKING_URI=sqlite:///mlflow.db GRAPH_AGENT_TRACING=off && \
		model=$$($(CURDIR)/$(BIN)/graph-agent log-model --table --graph starter --config $(CURDIR)/langgraph.json | \
			sed -n 's/^logged \([^ ]*\) .*/\1/p') && \
		$(BATCH_PYTHON) ../score.py --demo --model $$model --output scored

EVAL := $(if $(GRAPH),--graph $(GRAPH)) $(if $(DATASET),--dataset $(DATASET)) $(if $(MODEL),--model $(MODEL)) \
	$(if $(URL),--url $(URL)) $(if $(APP),--app $(APP)) $(if $(ROWS),--rows $(ROWS)) $(if $(HALF),--half $(HALF)) \
	$(if $(SECONDS),--seconds $(SECONDS)) $(if $(JUDGE),--judge $(JUDGE)) \
	$(if $(CONVERSATIONS),--conversations $(CONVERSATIONS)) $(if $(FRESH),--fresh) \
	$(if $(DECLINES_WITH),--declines-with "$(DECLINES_WITH)")
eval: setup ## Judge the agent against its baseline; MODEL=local asks the real model, ROWS=20 fewer rows
	@$(BIN)/graph-agent eval run $(EVAL) $(if $(MUTATION),--mutation $(MUTATION))

eval-baseline: setup ## Make the last evaluation the baseline, for review; FRESH=1 asks every row again
	@$(BIN)/graph-agent eval baseline $(EVAL)

eval-retrieval: setup ## Judge retrieval alone, without a language model; HALF=tuning one half, MISSED=1 lists what it misses
	@$(BIN)/python -m evals.retrieval $(if $(HALF),--half $(HALF)) $(if $(MISSED),--missed)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
lock: setup ## Resolve the dependencies again and write the locks with hashes
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) pyproject.toml --extra local -c requirements.txt -o requirements-local.txt
	$(LOCK) pyproject.toml --extra local --extra dev -c requirements-local.txt -o requirements-dev.txt
	grep -v -E '^ |^(protobuf|grpcio|grpcio-status|jsonschema-rs)==' requirements-dev.txt | sed 's/ *\\$$//' | \
		$(LOCK) pyproject.toml --extra studio -c /dev/stdin -o requirements-studio.txt
	echo uv | $(LOCK) - -c requirements-dev.txt -o requirements-uv.txt
	sed -n 's/^\([A-Za-z0-9._-]*==[^ ]*.*[^ \\]\) *\\*$$/\1/p' requirements.txt | \
		grep -v -E '^(py4j|numpy|pandas|databricks-connect)==' > $(BATCH)/.constraints.txt
	$(LOCK) pyproject.toml $(BATCH)/requirements.in --override $(BATCH)/overrides.txt -c $(BATCH)/.constraints.txt \
		--no-emit-package databricks-connect -o $(BATCH)/requirements.txt

# Without TAG it is a trial: anybody may run it at any time, and it publishes nothing.
release: setup page docs ## Build and check the wheel, the sdist and the bill of materials in dist; TAG=v1.2.3 for a release
	@$(BIN)/python -m releasing $(if $(TAG),--tag $(TAG)) $(if $(filter-out 0,$(NO_TRIAL)),--no-trial)

deploy: setup ## Ship the app to Databricks Apps; TARGET=prod chooses a target, DRY_RUN=1 only prints the plan
	@$(BIN)/graph-agent deploy $(if $(TARGET),--target $(TARGET)) $(if $(filter-out 0,$(DRY_RUN)),--dry-run) $(if $(filter-out 0,$(FORCE)),--force) $(if $(APP),--app $(APP))

clean: ## Remove the environment and every cache of the checkout; downloaded weights stay
	rm -rf $(VENV) $(STUDIO) .venv-aegra .langgraph_api .pytest_cache .mypy_cache .ruff_cache .hypothesis dist $(PAGE) $(DOCS) site/.tried site/.log page/node_modules $(BATCH)/.venv $(BATCH)/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
