# make start              installs into .venv, opens the app with an embedded database and a demo project
# make start APP_ONLY=1   the same without torch: a server to label on, which trains nothing
# make test               installs what tests need, runs them all
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
# The newest Python that is 3.11 or later; override with `make start PYTHON=/path/to/python3`.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Compiled modules are kept: the tests start many processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: start test slow lint docs bench gpu-bench clean

start: $(VENV)/$(if $(APP_ONLY),app,train).stamp
	$(BIN)/annotate-app serve --demo --port $(PORT)

test: $(VENV)/dev.stamp
	@bash tests/system_packages.sh
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not bench and not gpu"

# The long tests: load, kill -9, trainings killed and resumed, several processes, the whole way in a browser.
slow: $(VENV)/dev.stamp
	@bash tests/system_packages.sh
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "slow and not browser and not alone and not bench and not gpu"
	$(BIN)/python -m pytest -m "slow and (browser or alone) and not bench and not gpu"

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The documentation as a site in build/docs; a warning ends it.
docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Exports read by TRL's own loaders, figures beside the peers' libraries. Installs torch (CPU) and TRL into .venv-bench.
bench: .venv-bench/stamp
	.venv-bench/bin/python -m pytest -m bench

# All that needs a GPU, in under ten minutes on one, by the Python that has torch for it (installs nothing, fetches
# nothing): the tests of tests/gpu, then speed and memory at half a billion weights in build/gpu.
GPU_TESTS := tests/gpu tests/alignment/generation/test_llama_decoding.py tests/rewardkit/network/test_vocabulary_head.py
GPU_PYTHON ?= python3
gpu-bench:
	@$(GPU_PYTHON) -c "import torch, sys; sys.exit(not torch.cuda.is_available())" || { echo "$(GPU_PYTHON): no torch that sees a CUDA device"; exit 1; }
	PYTHONPATH=. timeout 330 $(GPU_PYTHON) -m pytest $(GPU_TESTS) --confcutdir=tests/gpu -m gpu -q -W default -p no:cacheprovider; \
		tested=$$?; PYTHONPATH=. $(GPU_PYTHON) tests/gpu/bench.py --minutes 3.5 && exit $$tested

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Tiebreak needs Python 3.11 or later: install it, or call make with PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "Python's venv module is missing: on Debian and Ubuntu install it with  apt-get install python3-venv"; exit 1; }

$(VENV)/app.stamp: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing Tiebreak into $(VENV): about 150 MB to fetch, 0.7 GB on disk"
	$(INSTALL) -e '.[app]'
	@touch $@

$(VENV)/torch.stamp: $(VENV)/bin/python constraints.txt annotate_app/install_torch.py
	@$(BIN)/python -P annotate_app/install_torch.py
	@touch $@

$(VENV)/train.stamp: $(VENV)/torch.stamp pyproject.toml constraints.txt
	@echo "Installing Tiebreak and what it trains with into $(VENV): about 250 MB to fetch, with torch 1.8 GB on disk"
	$(INSTALL) -e '.[app,train]'
	@touch $@ $(VENV)/app.stamp

$(VENV)/dev.stamp: $(VENV)/torch.stamp pyproject.toml constraints.txt
	@echo "Installing Tiebreak and what its tests need into $(VENV)"
	$(INSTALL) -e '.[app,postgres,train,dev]'
	@touch $@ $(VENV)/app.stamp $(VENV)/train.stamp

.venv-bench/stamp: pyproject.toml constraints.txt annotate_app/install_torch.py
	@[ -n "$(PYTHON)" ] || { echo "Tiebreak needs Python 3.11 or later"; exit 1; }
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -P annotate_app/install_torch.py
	.venv-bench/bin/python -m pip install --quiet --constraint constraints.txt -e '.[app,postgres,dev,bench]'
	.venv-bench/bin/python -m pip install --quiet --no-deps --target .venv-bench/trl-1.12 trl==1.12.0  # the last with PPO
	@touch $@

clean:
	rm -rf $(VENV) .venv-bench build *.egg-info .pytest_cache .ruff_cache .hypothesis
