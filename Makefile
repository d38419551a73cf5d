# Everything a newcomer or a developer runs. Needs make and Python 3.11 or later; `make help` lists the targets.
# Installed environments are kept and brought up to date when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 3
BIN := $(VENV)/bin
PIP := -m pip install --quiet --disable-pip-version-check
EXAMPLE := examples/annual_report
SOURCES := $(shell find stellwerk -type f ! -name '*.pyc') pyproject.toml README.md LICENSE NOTICE
BESIDE := tests benchmarks deploy examples docs pyproject.toml langgraph.json Makefile LICENSE $(wildcard *.md)
MEETING := chat cli graphs nodes persistence tiers test_public.py test_api.py workers/test_create.py workers/test_mcp.py
GRAPHS := declared default drawing orchestrator
FAST := not server and not browser and not model and not slow and not vllm and not long

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo example serve studio test test-release test-fast test-all test-long test-browser test-vllm test-wheel test-oldest \
	models lint format types imports docs docs-serve pictures bench-tatqa bench-overhead bench-persistence bench-soak \
	bench-scheduling bench-serving bench-routing kills clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed-demo  ## Answer questions about a page of an annual report, on this machine (fetches 1.7 GB once)
	$(BIN)/stellwerk models pull
	$(BIN)/stellwerk run "$$(cat $(EXAMPLE)/task.txt)" --file $(EXAMPLE)/page.md

example: $(VENV)/.installed-demo  ## Run examples/python_api.py, the same from Python (fetches 1.7 GB once)
	$(BIN)/stellwerk models pull
	$(BIN)/python examples/python_api.py

serve: $(VENV)/.installed-serve  ## Serve the graphs over HTTP on port 8080, until Ctrl-C (fetches 1.7 GB once); ARGS adds options
	$(BIN)/stellwerk models pull
	$(BIN)/stellwerk serve $(ARGS)

test: lint types imports docs test-all test-vllm  ## Run style, types, import directions, the site and all tests (about 15 minutes)
	@echo "All checks passed."

test-release: test test-wheel test-oldest test-long  ## Run every check there is, as before a release (about half an hour)

test-fast: $(VENV)/.installed-dev  ## Run the tests that need no model, start no server and are not slow (a minute or two)
	$(BIN)/python -m pytest -n $(JOBS) -m "$(FAST)"

# Hundreds of tests kill processes and count seconds; on a machine that is busy elsewhere, one in some thousands is late.
# It gets a second try, and the closing lines name it.
test-all: $(VENV)/.installed-dev models  ## Run all tests but those of vLLM and test-long; the 135M model is fetched (98 MB)
	$(BIN)/python -m pytest -n $(JOBS) -m "not vllm and not long" --reruns 1 --durations 25

test-long: $(VENV)/.installed-dev  ## Run what draws thousands of samples to check what routers promise (a few minutes)
	$(BIN)/python -m pytest -n $(JOBS) -m long

test-browser: $(VENV)/.installed-dev  ## Open the pages in Chromium; pictures of them are left in build/screenshots
	STELLWERK_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/browser

test-vllm: $(VENV)/.installed-dev  ## Run the tests on a real vLLM server, where one can be started (a few minutes)
	$(BIN)/python -m pytest tests/vllm

# `test-all` runs everything with the newest dependencies, and `test-oldest` runs on the wheel: this is where both meet, before
# a release. An environment that is old has other dependencies by then than a new one.
test-wheel: .venv-wheel/.installed  ## Run the tests of the public surface against the built wheel with the newest dependencies
	$(call test_installed,.venv-wheel,tests/test_public.py tests/test_api.py tests/test_docs.py tests/cli/test_run.py \
	tests/cli/test_db.py tests/cli/test_config.py $(GRAPHS:%=tests/graphs/test_%.py) -k "not postgresql and not mariadb")

# Only what meets a dependency whose oldest version is promised: routers compute with numpy alone, settings and ready-made
# workers with the standard library and pydantic, and benchmarks are not in the wheel. SQL for servers is that for SQLite but
# for dialects, which `test-all` runs, as it does the same statements on a database in memory.
test-oldest: .venv-oldest/.installed  ## Run the fast tests against the built wheel with the oldest promised dependencies
	$(call test_installed,.venv-oldest,-o filterwarnings=default $(MEETING:%=tests/%) \
	-k "not postgresql and not mariadb and not memory")

models: $(VENV)/.installed-dev
	$(BIN)/stellwerk models pull smollm2-135m

lint: $(VENV)/.installed-dev  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## Mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev  ## Check types, in tests and examples too
	$(BIN)/mypy

imports: $(VENV)/.installed-dev  ## Check that imports point one way
	$(BIN)/lint-imports

studio: $(VENV)/.installed-dev  ## Serve the graphs for LangGraph Studio on port 2024
	LANGSMITH_TRACING=false LANGGRAPH_CLI_NO_ANALYTICS=1 $(BIN)/langgraph dev --no-browser

bench-tatqa: $(VENV)/.installed-dev  ## Measure quality and cost on TAT-QA; STELLWERK_DATA names the data, ARGS adds options
	$(BIN)/python -m benchmarks.tatqa $(ARGS)

bench-overhead: $(VENV)/.installed-dev  ## Measure what running a subtask costs by itself, beside plain LangGraph; no model
	$(BIN)/python -m benchmarks.overhead $(ARGS)

bench-persistence: $(VENV)/.installed-dev  ## Measure checkpointers beside LangGraph's own, on SQLite and PostgreSQL; no model
	$(BIN)/python -m benchmarks.persistence $(ARGS)

bench-soak: $(VENV)/.installed-dev  ## Run 2,000 subtasks over two servers that fail, hang and are killed; no model
	$(BIN)/python -m benchmarks.soak $(ARGS)

bench-scheduling: .venv-bench/.installed  ## Measure how close plans come to their critical path, beside peers; no model, half an hour
	.venv-bench/bin/python -m benchmarks.scheduling --json scheduling.json $(ARGS)

bench-serving: .venv-bench/.installed  ## Measure `stellwerk serve` under load, beside the graph called in process; no model, half an hour
	.venv-bench/bin/python -m benchmarks.serving --json serving.json $(ARGS)

bench-routing: .venv-bench/.installed  ## Measure routers beside their peers on published data; STELLWERK_DATA names it, ARGS adds options
	LITELLM_LOCAL_MODEL_COST_MAP=True .venv-bench/bin/python -W ignore -m benchmarks.routing $(ARGS)

# Not --quiet: what is not logged is not counted, and warnings would pass.
docs: .venv-docs/.installed  ## Build the site of the documentation into build/site; warnings and broken links are errors
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build
	@echo "The site is build/site/index.html."

docs-serve: .venv-docs/.installed  ## Serve the site on port 8000 of this machine, and build it anew when a page changes
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs serve

pictures: $(VENV)/.installed-dev  ## Run the notebook and make the pictures of the documentation anew; needs Chromium, fetches 0.6 GB once
	$(BIN)/stellwerk models pull smollm2-135m qwen2.5-coder-0.5b
	$(BIN)/python -m website.notebook
	$(BIN)/python -m website.pictures

kills: $(VENV)/.installed-dev  ## Kill runs 200 times with SIGKILL and resume them; ARGS='--url ...' names another database
	$(BIN)/python -m tests.persistence.kills --kills 200 $(ARGS)

clean:  ## Remove what was built and the environments of the checks; keeps .venv and the models
	rm -rf dist build .venv-wheel .venv-oldest .venv-bench .venv-docs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Stellwerk needs Python 3.11 or later; name one: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --editable '.[embedded]'
	@touch $@

$(VENV)/.installed-serve: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --editable '.[embedded,serve]'
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed-demo $(VENV)/.installed-serve

# The wheel is what users get: it has the type marker and the notices, and nothing but the package.
dist/.built: $(SOURCES) | $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist . > dist.log 2>&1 || { cat dist.log; rm -f dist.log; exit 1; }
	@rm dist.log
	$(BIN)/python -m zipfile --list dist/*.whl | awk 'NR > 1 { print $$1 }' > dist/contents
	grep -qx stellwerk/py.typed dist/contents
	grep -q 'dist-info/licenses/LICENSE$$' dist/contents
	grep -q 'dist-info/licenses/NOTICE$$' dist/contents
	! grep -vE '^stellwerk(/|-[0-9.]+\.dist-info/)' dist/contents
	@touch $@

# Peers in an environment of their own: what they pin shall not decide what the tests run with.
.venv-bench/.installed: pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(PIP) --editable '.[bench]'
	@touch $@

# So do the tools of the site. They read the package and do not import it, so that it is not installed there.
DOCS = $$($(PYTHON) -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')

.venv-docs/.installed: pyproject.toml
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python $(PIP) $(DOCS)
	@touch $@

.venv-wheel/.installed: dist/.built
	$(call fresh,.venv-wheel)
	.venv-wheel/bin/python $(PIP) --upgrade --upgrade-strategy eager "$$(echo dist/*.whl)[test]"
	@touch $@

OLDEST = $$($(BIN)/python -c 'import re, tomllib; \
	lines = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
	print(*(re.sub(">=([^,]+).*", r"==\1", line) for line in lines))')

.venv-oldest/.installed: dist/.built
	$(call fresh,.venv-oldest)
	.venv-oldest/bin/python $(PIP) "$$(echo dist/*.whl)[test]" $(OLDEST)
	@touch $@

# $(1): an environment. Its old wheel goes, as pip would keep it while the version is the same.
define fresh
	test -x $(1)/bin/python || $(BIN)/python -m venv $(1)
	$(1)/bin/python -m pip --quiet uninstall --yes stellwerk 2> /dev/null
endef

# $(1): an environment; $(2): more options. Tests run from a copy that has no stellwerk folder, so that what they
# import can only be the wheel; the one left out is about files of that folder.
define test_installed
	place=$$(mktemp -d) && trap 'rm -rf "$$place"' EXIT && here=$$PWD && cp -R $(BESIDE) "$$place" && cd "$$place" && \
	"$$here/$(1)/bin/python" -c 'import stellwerk; print(stellwerk.__file__); assert "site-packages" in stellwerk.__file__' && \
	"$$here/$(1)/bin/python" -m pip list --disable-pip-version-check --format freeze | grep -iE '^(langgraph|langchain-core)==' && \
	"$$here/$(1)/bin/python" -m pytest -q -n $(JOBS) -p no:cacheprovider -m "$(FAST)" $(2) \
	--deselect tests/graphs/test_default.py::test_langgraph_json_names_what_is_there
endef
