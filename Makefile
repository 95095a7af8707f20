# Everything a newcomer types. Each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: install install-dev demo test test-slow lint types bench clean

install: $(VENV)/.installed

# With every extra, so that no test is skipped.
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) -e '.[train,xs]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[train,xs,clip,export,geo,huggingface,nsfw,openai,ray,wandb,mlflow,trackio,dev]'
	touch $@

demo: install
	$(BIN)/commoncanvas demo

lint: install-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

types: install-dev
	$(BIN)/mypy

test: lint types
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadgroup

test-slow: install-dev
	$(BIN)/python -m pytest -m slow

bench: demo
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist src/*.egg-info
