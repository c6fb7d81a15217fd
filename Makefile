PYTHON ?= python3
SCENE ?= scenes/led_stage.spz
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard splatview/native/*.cpp splatview/native/*.hpp) splatview/native/CMakeLists.txt

.PHONY: view test test-all lint clean

view: $(VENV)/.base
	$(BIN)/splatview view $(SCENE)

test: lint
	$(BIN)/pytest

test-all: lint
	$(BIN)/pytest -m "not gpu"

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
