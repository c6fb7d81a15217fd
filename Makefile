PYTHON ?= python3
SCENE ?= scenes/led_stage.spz
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard splatview/native/*.cpp splatview/native/*.hpp) splatview/native/CMakeLists.txt

.PHONY: view test test-all peer lint clean

view: $(VENV)/.base
	$(BIN)/splatview view $(SCENE)

test: lint
	$(BIN)/pytest

test-all: lint
	$(BIN)/pytest -m "not gpu"

# Another tool must read what we write: it is installed with npm, apart from everything else.
peer: $(VENV)/.dev
	npm install --no-audit --no-fund --silent --prefix tools/.peer @playcanvas/splat-transform@3.7.0
	$(BIN)/pytest tests/test_formats_peer.py

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run -Werror $(filter %.cpp %.hpp,$(NATIVE))
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# An editable install: Python files are used where they lie, the native module is rebuilt when its sources change.
$(VENV)/.base: pyproject.toml tools/constraints.txt $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c tools/constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check -c tools/constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c tools/constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build
