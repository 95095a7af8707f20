# Everything a newcomer types. Each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

EXTRAS := train xs c2pa clip export geo huggingface nsfw openai ray wandb mlflow trackio web serve replicas dev

.PHONY: install install-dev wheel demo check test test-slow xs lint types types-elsewhere bench docs audit lock clean

install: $(VENV)/.installed

# With every extra, so that no test is skipped; every package by the hash of its file.
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) -e '.[xs]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml requirements-dev.lock
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(VENV)/.installed $@

# Known vulnerabilities of the pinned packages; asks PyPI's database, so it needs a network.
audit: install-dev
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict --require-hashes --disable-pip -r requirements-dev.lock

# The lock again, after a change of pyproject.toml or constraints.txt.
lock:
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	$(VENV)/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links -c constraints.txt $(foreach extra,$(EXTRAS),--extra $(extra)) \
		-o requirements-dev.lock pyproject.toml
	# The extra xs names this package with another extra, so the list has this folder too.
	sed -i '/^# WARNING: pip install will require/,/^commoncanvas @ /d' requirements-dev.lock

# The wheel and the sources, in dist/, checked as a package index does.
wheel:
	test -x $(VENV)/wheel/bin/pip || $(PYTHON) -m venv --clear $(VENV)/wheel
	$(VENV)/wheel/bin/pip install --quiet --disable-pip-version-check build==1.6.1 twine==7.0.0
	rm -rf build/lib dist
	$(VENV)/wheel/bin/python -m build
	$(VENV)/wheel/bin/twine check --strict dist/*

demo: install
	$(BIN)/commoncanvas demo

# The packaged XS again, in src/commoncanvas/pretrained/xs: the same steps, seeds and threads.
xs: install
	$(BIN)/python -m commoncanvas.demonstration.pretrain

lint: install-dev
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/lint-imports --no-logo

types: install-dev
	$(BIN)/mypy

# As macOS and Windows see the code: what they lack is not used unguarded.
types-elsewhere: install-dev
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32

# Lint, contracts between the rooms, and types.
check: lint types

test: check
	$(BIN)/python -m pytest -m "not slow and not heavy" -n 2 --durations=20

SLOW ?= slow or heavy

test-slow: types-elsewhere
	$(BIN)/python -m pytest -m "$(SLOW)" -n 2 --durations=20

# The site, in build/site; a broken link or a missing page is an error.
docs: $(VENV)/docs/.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --strict
	@echo "written to build/site/index.html"

$(VENV)/docs/.installed: pyproject.toml constraints.txt
	test -x $(VENV)/docs/bin/pip || $(PYTHON) -m venv --clear $(VENV)/docs
	$(VENV)/docs/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

bench: demo
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist src/*.egg-info
