# Every target installs what it needs into .venv by itself. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# Installs into .venv six times faster than pip, and compiles, so that Ray's workers start faster too.
UV := uv==0.13.9
INSTALL = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable
# Stamps: what is installed, as of which pyproject.toml.
CORE := .venv/.core
MODELS_INSTALLED := .venv/.models
DEV := .venv/.dev
# Tasks whose operators run models: these need torch.
MODEL_TASKS := hed2img mlsd2img ultraedit magicbrush style pose tryon composition mimicbrush editing
NEEDED = $(if $(filter $(MODEL_TASKS),$(TASK))$(VLM),$(MODELS_INSTALLED),$(CORE))

OUT ?= data
SEED ?= 0
PORT ?= 8000
# Options that are passed on only when set.
data_option = $(if $(DATA),--data "$(DATA)")
cpus_option = $(if $(CPUS),--cpus $(CPUS))
models_option = $(if $(MODELS),--models "$(MODELS)")
scale_option = $(if $(SCALE),--scale $(SCALE))
count_option = $(if $(COUNT),--count $(COUNT))
keep_option = $(if $(filter all,$(KEEP)),--keep-all)
generator_option = $(if $(GENERATOR),--generator $(GENERATOR))
estimator_option = $(if $(ESTIMATOR),--estimator $(ESTIMATOR))
TINY := models/tiny
TINY_NEEDED = $(if $(filter tiny,$(MODELS)),$(TINY)/.made)
# A vision-language model: VLM=http://host:8000/v1 VLM_MODEL=name, or VLM=local MODELS=folder. Its key is in OPENAI_API_KEY.
vlm_options = $(if $(VLM),--vlm "$(VLM)") $(if $(VLM_MODEL),--vlm-model "$(VLM_MODEL)") \
	$(if $(PROMPTS),--prompts "$(PROMPTS)") $(if $(VLM_CONCURRENCY),--vlm-concurrency $(VLM_CONCURRENCY)) \
	$(if $(VLM_RATE),--vlm-rate $(VLM_RATE)) $(if $(PRICE_IN),--price-in $(PRICE_IN)) \
	$(if $(PRICE_OUT),--price-out $(PRICE_OUT))

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(CORE): pyproject.toml
	@echo "Installing the core into .venv (once, about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check $(UV)
	@$(INSTALL) .
	@touch $@

$(MODELS_INSTALLED): $(CORE)
	@echo "Installing torch and the models' libraries into .venv (once, some minutes) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
	@$(INSTALL) '.[models,train]'
	@touch $@

$(DEV): $(MODELS_INSTALLED)
	@echo "Installing what tests and checks need into .venv (once) ..."
	@$(INSTALL) '.[models,train,dev]'
	@touch $@

.PHONY: shards
shards: $(NEEDED) $(TINY_NEEDED) ## make TASK's shards: TASK=derain [DATA=folder] [OUT=data] [SEED=0] [CPUS=n] [MODELS=folder] [SCALE=0.01] [COUNT=n] [GENERATOR=sd15|flux] [ESTIMATOR=blazepose|openpose|dwpose] [KEEP=all] [VLM=url VLM_MODEL=name]
	@$(BIN)/python -m pipelines shards $(TASK) $(data_option) --out "$(OUT)" --seed $(SEED) $(cpus_option) $(models_option) $(scale_option) $(count_option) $(generator_option) $(estimator_option) $(keep_option) $(vlm_options)

.PHONY: plan
plan: $(NEEDED) $(TINY_NEEDED) ## say what `make shards` with the same options would make and cost
	@$(BIN)/python -m pipelines plan $(TASK) $(data_option) --seed $(SEED) $(models_option) $(scale_option) $(count_option) $(generator_option) $(estimator_option) $(keep_option) $(vlm_options)

.PHONY: tiny-models
tiny-models: $(MODELS_INSTALLED) ## write small random checkpoints to try model operators with: [MODELS=models/tiny]
	@$(BIN)/python -m infra.tiny.models "$(if $(MODELS),$(MODELS),$(TINY))"
	@touch "$(if $(MODELS),$(MODELS),$(TINY))/.made"

BLAZEPOSE := models/blazepose
.PHONY: blazepose
blazepose: $(MODELS_INSTALLED) ## fetch the small pose estimator's weights, 9 MB: [BLAZEPOSE=models/blazepose]
	@$(BIN)/python -m infra.tiny.blazepose "$(BLAZEPOSE)"

# Checkpoints of an older version of the code are made anew.
$(TINY)/.made: $(wildcard infra/tiny/*.py) infra/tiny/blazepose.py | $(MODELS_INSTALLED)
	@echo "Writing tiny random checkpoints into $(TINY) ..."
	@$(BIN)/python -m infra.tiny.models $(TINY)
	@touch $@

.PHONY: tokens
tokens: $(MODELS_INSTALLED) $(if $(MODELS),$(TINY_NEEDED),$(TINY)/.made) ## add token shards to a dataset: TASK=derain [OUT=data] [MODELS=models/tiny] [CPUS=n]
	@$(BIN)/python -m pipelines tokens $(TASK) --out "$(OUT)" --models "$(if $(filter-out tiny,$(MODELS)),$(MODELS),$(TINY))" $(cpus_option)

.PHONY: icl
icl: $(MODELS_INSTALLED) ## learn image tasks from one example, four ways, on a small model (half an hour): [OUT=data]
	@$(BIN)/python -m train.icl --out "$(OUT)/icl"

.PHONY: vlm-server
vlm-server: $(DEV) $(TINY)/qwen2-vl/config.json ## serve the small vision-language model of MODELS=tiny on 127.0.0.1: [PORT=8000]
	@echo "make shards TASK=... VLM=http://127.0.0.1:$(PORT)/v1 VLM_MODEL=models/tiny/qwen2-vl"
	@HF_HUB_OFFLINE=1 $(BIN)/transformers serve models/tiny/qwen2-vl --host 127.0.0.1 --port $(PORT) --device cpu

$(TINY)/qwen2-vl/config.json: infra/tiny/qwen2_vl.py | $(MODELS_INSTALLED)
	@$(BIN)/python -c 'from pathlib import Path; from infra.tiny.qwen2_vl import write_qwen2_vl; write_qwen2_vl(Path("$(@D)"))'

.PHONY: browse
browse: $(CORE) ## look at datasets in a web browser: [OUT=data]
	@$(BIN)/python -m manifests browse "$(OUT)"

.PHONY: verify
verify: $(CORE) ## check every byte and row of datasets: [OUT=data]
	@$(BIN)/python -m manifests verify "$(OUT)"

.PHONY: chromium
chromium: # for the test that drives the browse page; skipped where it cannot be had
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
		|| echo "No chromium, and it cannot be installed here: the browser test will be skipped."

.PHONY: test
test: $(DEV) chromium ## install everything and run the tests
	@$(BIN)/python -m pytest -n auto --dist loadgroup

.PHONY: chaos
chaos: $(DEV) ## kill workers, drivers and nodes at random, ten times over, and compare bytes (minutes)
	@$(BIN)/python -m pytest -m chaos

.PHONY: check
check: $(DEV) ## lint, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: bench
bench: $(MODELS_INSTALLED) $(TINY)/.made ## compare the engine with plain scripts and naive Ray Data, side by side (minutes)
	@$(BIN)/python -m infra.bench.derain
	@$(BIN)/python -m infra.bench.scaling
	@$(BIN)/python -m infra.bench.plan
	@$(BIN)/python -m infra.bench.raie
	@$(BIN)/python -m infra.bench.packing
	@$(BIN)/python -m infra.bench.reading
	@$(BIN)/python -m infra.bench.batching

.PHONY: clean
clean: ## remove .venv and caches; datasets stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
