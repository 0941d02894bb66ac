# make quickstart   set up, then the whole chain on real events (figures in quickstart/)
# make test         set up, then all tests
# make lint         ruff and mypy
# Each makes the virtual environment VENV with PYTHON where there is none.

PYTHON ?= python3
VENV ?= .venv
# nproc counts OMP_NUM_THREADS, not cores, where that is set.
WORKERS ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.installed

.PHONY: quickstart test lint clean

quickstart: $(READY)
	@echo "quickstart: generates, trains, samples and validates; about 5 minutes on 2 cores."
	PATH="$(BIN):$$PATH" WORKERS=$(WORKERS) bash examples/quickstart.sh quickstart

test: $(READY)
	@echo "test: 15 to 25 minutes on 2 cores."
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch first and by version, so that no other package picks another build of it.
$(READY): pyproject.toml
	@echo "setting up $(VENV): about 2 minutes on a fast network (torch alone is 200 MB)."
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install -qq --disable-pip-version-check -e '.[pythia,urqmd,hepmc,root,dev]'
	touch $@

clean:
	rm -rf $(VENV) quickstart
