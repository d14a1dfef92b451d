# Each target sets up what it needs first, so that each works on a fresh machine with Python 3.11 or newer: 'make demo'
# what the default pipeline needs, every other target all of it, in the same environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Python compiles what it imports, once; compiling all of SciPy would take longer than the demo.
PIP := $(BIN)/python -m pip install --quiet --no-compile
export PYTHONDONTWRITEBYTECODE :=
LIGHT := $(VENV)/.light
READY := $(VENV)/.ready
# For PyTorch without CUDA on Linux: make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# One more than there are cores: a quarter of the time of the tests is waiting, for servers, pages and other processes.
WORKERS ?= $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")

.PHONY: demo test lint docs bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The build backend is installed once, not once for each distribution; then what these need.
$(LIGHT): requirements-light.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) | $(BIN)/python
	$(PIP) "hatchling>=1.27" editables
	$(PIP) --no-deps --no-build-isolation -r requirements-light.txt
	$(PIP) "asd-framework[light]"
	touch $@

# What has everything has the light set too. First what is here and pinned, then what these need: nothing is built in
# an environment of its own, which would be made twenty times.
$(READY): requirements.txt requirements-torch.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(PIP) "hatchling>=1.27" editables
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) -r requirements-torch.txt)
	$(PIP) --no-deps --no-build-isolation -r requirements.txt
	sed 's|^-e \./plugins/||; s|^-e \.\[|asd-framework[|; s|^-r |&$(CURDIR)/|' requirements.txt > $(VENV)/requirements.txt
	$(PIP) -r $(VENV)/requirements.txt
	touch $(LIGHT) $@

demo: $(LIGHT)
	$(BIN)/asd demo

# Files that take long come first (conftest.py), and a test that failed is run once more and listed as RERUN (decision
# 0062): beside others, a loaded machine can outlast its patience. Plain pytest does neither.
test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --reruns 1 -rR

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$$(echo plugins/*/src | tr ' ' :) $(BIN)/mypy core/asd registry/asd_registry conftest.py plugins/*/src

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)
	for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache
