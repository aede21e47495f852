# Two commands do all the set-up: `make demo` and `make test`. Both need Python >= 3.11, pip and make, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint types slow browser-test conformance peers clean

demo: $(READY)
	$(BIN)/coldfusion demo

test: lint types
	$(BIN)/pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

slow: $(READY)
	$(BIN)/pytest -m slow

# Opens the report in headless Chromium; the screenshots stay in test-output/pages.
CHROMIUM ?= $(shell command -v chromium)
browser-test: $(READY)
	@test -x "$(CHROMIUM)" || \
	  { echo "no Chromium here: apt-get install chromium, or make browser-test CHROMIUM=/path/of/one" >&2; exit 2; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[browser]'
	CHROMIUM="$(CHROMIUM)" $(BIN)/pytest -m browser tests/browser

conformance: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[conformance]'
	$(BIN)/python tests/conformance/run.py

# Record anew what mergekit 0.1.5 and Flower make of small models, and compare: two Pythons that have them,
#   make peers MERGEKIT=/path/python FLOWER=/path/python
peers: $(READY)
	@test -x "$(MERGEKIT)" -a -x "$(FLOWER)" || \
	  { echo "usage: make peers MERGEKIT=/path/python FLOWER=/path/python" >&2; exit 2; }
	$(BIN)/python -m experiments.peers.record $(MERGEKIT) $(FLOWER)
	$(BIN)/pytest tests/peers

$(READY): pyproject.toml constraints.txt hatch_build.py coldfusion/native/kernels.c
	@echo "installing into .venv; this takes some minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv runs test-output
