# Each command does all its own set-up: a virtual environment from requirements, reused the next time.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO ?= runs/demo

.PHONY: demo test test-all lint format dist docs clean

# The encoder of the demo: digits; 300 s of processor time with its report, on two busy cores.
demo: $(VENV)/.run
	@rm -rf $(DEMO)
	@$(BIN)/python -m selfsup.train --config=experiments/digits/vicreg.py --workdir=$(DEMO)

test: $(VENV)/.test
	@PATH="$(abspath $(BIN)):$$PATH" bash tests/run.sh

# The whole suite, slow tests included, in parts: `make test-all PART=methods` (docs/testing.md).
PART ?= all
test-all: $(VENV)/.test
	@PATH="$(abspath $(BIN)):$$PATH" bash tests/run.sh $(PART)

lint: $(VENV)/.test
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/pyrefly check

format: $(VENV)/.test
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# Modules are compiled as they are first imported (--no-compile): most of what is installed never is.
$(VENV)/.run: requirements.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing requirements into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e . >/dev/null 2>$(VENV)/pip.log || { cat $(VENV)/pip.log; exit 1; }
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt >/dev/null 2>$(VENV)/pip.log || { cat $(VENV)/pip.log; exit 1; }
	@touch $@

# A wheel with the configs in it: dist/selfsup-*.whl.
dist: $(VENV)/.run
	@rm -rf build dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist

# The documentation as a site: docs/_site/index.html; links that lead nowhere are errors.
docs: $(VENV)/.docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_site
	@echo docs/_site/index.html

$(VENV)/.docs: $(VENV)/.run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]' >/dev/null 2>$(VENV)/pip.log || { cat $(VENV)/pip.log; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) runs .pytest_cache
