# Each target sets up what it needs: on a fresh machine make, Python 3.11 or newer and a package
# index are enough. Stamp files in the environments make the second call instant. What is set on the
# command line reaches the programs as environment variables, as in make demo DATA=omniglot.

PYTHON ?= python3
PYTHON_OLDEST ?= python3.11

VENV := .venv
OLDEST := .venv-oldest
ENCODERS := .venv-encoders
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

.NOTPARALLEL: # two installations into one environment would collide
.PHONY: help demo test test-onnx stress mutants lint test-oldest test-encoders bench docs dist clean

help:
	@echo "make demo         meta-train a small learner and adapt it to new classes"
	@echo "make test         run the tests"
	@echo "make test-onnx    run the tests of the export to ONNX, whose libraries take 120 MB of disk"
	@echo "make stress       damage 10,000 model files, kill 20 fits, try 7,000 data: a quarter of an hour"
	@echo "make mutants      break the sampler, heads and losses in 2,700 ways: do the tests notice?"
	@echo "make lint         check style, formatting, import rules and types"
	@echo "make test-oldest  run the tests on the oldest supported versions (Python 3.11, 5 GB of disk)"
	@echo "make test-encoders  test pretrained networks by name with the real libraries (7 GB of disk)"
	@echo "make bench        run the benchmarks"
	@echo "make docs         build the site into docs/_build/html; GALLERY=0 runs no examples"
	@echo "make dist         build the source distribution and the wheel into dist"
	@echo "make clean        remove environments, caches and builds"

demo: $(VENV)/.with-plot
	$(VENV)/bin/python examples/plot_quickstart.py

test: $(VENV)/.with-test
	$(VENV)/bin/python -m pytest -n 2

test-onnx: $(VENV)/.with-test $(VENV)/.with-onnx
	$(VENV)/bin/python -m pytest tests/persistence/test_onnx.py

stress: $(VENV)/.with-test
	$(VENV)/bin/python -m tests.stress.fuzz_models 10000
	$(VENV)/bin/python -m tests.stress.kill_fits 20
	$(VENV)/bin/python -m tests.stress.any_input 7000

mutants: $(VENV)/.with-dev
	rm -rf mutants
	OMP_NUM_THREADS=1 $(VENV)/bin/mutmut run --max-children 2
	$(VENV)/bin/mutmut results

lint: $(VENV)/.with-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

test-oldest: $(OLDEST)/.with-test
	$(OLDEST)/bin/python -m pytest -n 2

# Networks of the tests are made by them: nothing is downloaded but the packages.
test-encoders: $(ENCODERS)/.with-encoders
	HF_HUB_OFFLINE=1 $(ENCODERS)/bin/python -m pytest -n 0 tests/learners/test_named_encoder.py

bench: $(VENV)/.with-plot
	set -e; for script in benchmarks/[!_]*.py; do \
	    $(VENV)/bin/python -m benchmarks.$$(basename $$script .py); done

# -E: contents are made of links, so every page is read again. Examples run again only if changed.
docs: $(VENV)/.with-docs
	$(VENV)/bin/python -m sphinx -E -W --keep-going -q docs docs/_build/html
	$(VENV)/bin/python docs/check_site.py docs/_build/html

dist: $(VENV)/.with-dev
	rm -rf dist
	$(VENV)/bin/python -m build

clean:
	rm -rf $(VENV) $(OLDEST) $(ENCODERS) build dist *.egg-info .coverage* htmlcov
	rm -rf docs/_build docs/api docs/auto_examples docs/generated examples/*.png
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environments -------------------------------------------------------------------------------

# $(call make_venv,python,test of its version,the version in words)
define make_venv
	@$(1) -c 'import sys; sys.exit(not $(2))' 2>/dev/null || { \
	    echo "$(3) is needed and '$(1)' is not that: put one on the PATH or name it, see PYTHON and" \
	    "PYTHON_OLDEST in the Makefile." >&2; exit 1; }
	@$(1) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(1)' lacks its venv module: install it (python3-venv on Debian and Ubuntu)." >&2; \
	    exit 1; }
	$(1) -m venv $(@D)
	@touch $@
endef

$(VENV)/.made:
	$(call make_venv,$(PYTHON),sys.hexversion >= 0x30B0000,Python 3.11 or newer)

$(OLDEST)/.made:
	$(call make_venv,$(PYTHON_OLDEST),sys.hexversion >> 16 == 0x30B,Python 3.11)

$(ENCODERS)/.made:
	$(call make_venv,$(PYTHON),sys.hexversion >= 0x30B0000,Python 3.11 or newer)

# torch comes first and alone, so that the pin picks the CPU build where one is at hand.
$(VENV)/.with-torch: constraints.txt | $(VENV)/.made
	$(VENV)/bin/python $(PIP_INSTALL) --constraint $< torch
	@touch $@

$(OLDEST)/.with-torch: constraints-oldest.txt | $(OLDEST)/.made
	$(OLDEST)/bin/python $(PIP_INSTALL) --constraint $< torch
	@touch $@

$(VENV)/.with-%: constraints.txt pyproject.toml $(VENV)/.with-torch
	$(VENV)/bin/python $(PIP_INSTALL) --constraint $< --editable '.[$*]'
	@touch $@

$(OLDEST)/.with-%: constraints-oldest.txt pyproject.toml $(OLDEST)/.with-torch
	$(OLDEST)/bin/python $(PIP_INSTALL) --constraint $< --editable '.[$*]'
	@touch $@

# torchvision works with one build of torch only: the pins are of its own file.
$(ENCODERS)/.with-encoders: constraints-encoders.txt pyproject.toml | $(ENCODERS)/.made
	$(ENCODERS)/bin/python $(PIP_INSTALL) --constraint $< --editable '.[encoders,test]'
	@touch $@
