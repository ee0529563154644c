# Every target installs what it needs into .venv by itself. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
# Where packages are installed, elsewhere if this folder cannot be written to: make VENV=/elsewhere shards OUT=...
VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# uv installs six times faster than pip, and compiles, so that Ray's workers start faster too. The lock file decides
# the versions but does not list what to install: the CPU build of torch does not bring the GPU's libraries.
INSTALL = $(BIN)/python -m uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint requirements.lock --editable
locked = $(foreach name,$(1),$(shell sed -n 's/^\($(name)==[^ ]*\).*/\1/p' requirements.lock 2>/dev/null))
# Stamps are named by all that decides what is installed: the times of files say nothing about that.
STATE := $(firstword $(shell { cat pyproject.toml requirements.lock; echo '$(CURDIR)'; } 2>/dev/null | cksum))
CORE := $(VENV)/.core-$(STATE)
MODELS_INSTALLED := $(VENV)/.models-$(STATE)
DEV := $(VENV)/.dev-$(STATE)
OUT ?= data
TINY := models/tiny

# The variables of a command line go to the command as they were typed; it knows them and refuses others. What is only
# exported in the shell is not looked at: a DATA of another project must not decide what is read.
quoted = '$(subst ','\'',$(1))'
GIVEN = $(foreach v,$(filter-out PYTHON VENV MAKEFLAGS,$(.VARIABLES)),$(if $(findstring command line,$(origin $(v))),$(call quoted,$(v)=$($(v)))))
XPROMPT = XPROMPT_FROM=make $(BIN)/xprompt
# Checks a command line before anything is installed for it. A line of $(error) is the only one that make adds nothing to.
checked = $(eval NEEDS := $(shell $(BIN)/xprompt needs $(1) 2>&1))$(if $(findstring xprompt,$(NEEDS)),$(error $(NEEDS)))

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

define WITH_UV
@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
@$(PYTHON) -m venv "$(VENV)"
@$(PIP) $(or $(call locked,uv),uv)
endef

$(CORE):
	@echo "Installing the core into $(VENV) (once, about a minute) ..."
	$(WITH_UV)
	@rm -f $(VENV)/.core* $(VENV)/.models* $(VENV)/.dev*
	@$(INSTALL) .
	@touch $@

# torch by pip, which may be configured to take it from elsewhere, as a build for CPUs or for another CUDA.
$(MODELS_INSTALLED): | $(CORE)
	@echo "Installing torch and the models' libraries into $(VENV) (once, some minutes) ..."
	@$(PIP) $(call locked,torch torchvision)
	@$(INSTALL) '.[models,train]'
	@touch $@

$(DEV): | $(MODELS_INSTALLED)
	@echo "Installing what tests and checks need into $(VENV) (once) ..."
	@$(INSTALL) '.[models,train,dev]'
	@touch $@

.PHONY: lock
lock: ## fit requirements.lock to pyproject.toml; remove it before to take the newest releases
	$(WITH_UV)
	@$(BIN)/python -m uv pip compile --quiet pyproject.toml --universal --all-extras --generate-hashes --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

.PHONY: shards
shards: $(CORE) ## make a task's dataset: TASK=derain [DATA=folder] [OUT=data] ...; all variables: make shards-help TASK=derain
	@$(call checked,shards $(GIVEN))$(if $(NEEDS),$(MAKE) --silent --no-print-directory $(MODELS_INSTALLED))
	@$(XPROMPT) shards $(GIVEN)

.PHONY: plan
plan: $(CORE) ## say what `make shards` with the same variables would make and cost
	@$(call checked,plan $(GIVEN))$(if $(NEEDS),$(MAKE) --silent --no-print-directory $(MODELS_INSTALLED))
	@$(XPROMPT) plan $(GIVEN)

.PHONY: doctor
doctor: $(CORE) ## say whether this machine and cluster can run a task: TASK=derain [OUT=data] [MODELS=folder or hub] [RAY_ADDRESS=host:port] ...
	@$(XPROMPT) doctor $(GIVEN)

.PHONY: shards-help
shards-help: $(CORE) ## list the variables of shards and plan: [TASK=derain]
	@$(XPROMPT) shards $(TASK) --help

.PHONY: tasks
tasks: $(CORE) ## list the tasks
	@$(XPROMPT) tasks

.PHONY: models
models: $(CORE) ## list the models' checkpoints, and what of them is there: [TASK=style] [MODELS=folder or hub]
	@$(call checked,models $(GIVEN))$(if $(NEEDS),$(MAKE) --silent --no-print-directory $(MODELS_INSTALLED))
	@$(XPROMPT) models $(GIVEN)

.PHONY: tiny-models
tiny-models: $(MODELS_INSTALLED) ## write small random checkpoints to try model operators with: [MODELS=models/tiny]
	@$(XPROMPT) tiny-models "$(if $(MODELS),$(MODELS),$(TINY))"

BLAZEPOSE := models/blazepose
.PHONY: blazepose
blazepose: $(MODELS_INSTALLED) ## fetch the small pose estimator's weights, 9 MB: [BLAZEPOSE=models/blazepose]
	@$(BIN)/python -m infra.tiny.blazepose "$(BLAZEPOSE)"

# Checkpoints of an older version of the code are made anew.
$(TINY)/.made: $(wildcard infra/tiny/*.py) infra/tiny/blazepose.py | $(MODELS_INSTALLED)
	@echo "Writing tiny random checkpoints into $(TINY) ..."
	@$(XPROMPT) tiny-models $(TINY)

.PHONY: tokens
tokens: $(CORE) ## add token shards to a dataset: TASK=derain [OUT=data] [MODELS=folder] [CONTEXT_PIXELS=256] [CPUS=n]
	@$(call checked,tokens $(GIVEN))$(if $(NEEDS),$(MAKE) --silent --no-print-directory $(MODELS_INSTALLED))
	@$(XPROMPT) tokens $(GIVEN)

.PHONY: icl
icl: $(MODELS_INSTALLED) ## tasks over real pictures from one example, four ways, on a small model (an hour of CPU): [OUT=data]
	@$(XPROMPT) icl --out "$(OUT)/icl"

.PHONY: demo
demo: $(MODELS_INSTALLED) ## from photos to a picture of a small model's answers, on two cores (a few minutes): [OUT=data]
	@$(XPROMPT) demo --out "$(OUT)/demo"

.PHONY: vlm-server
vlm-server: $(DEV) $(TINY)/qwen2-vl/config.json ## serve the small vision-language model of MODELS=tiny on 127.0.0.1: [PORT=8000]
	@echo "make shards TASK=... VLM=http://127.0.0.1:$(or $(PORT),8000)/v1 VLM_MODEL=models/tiny/qwen2-vl"
	@HF_HUB_OFFLINE=1 $(BIN)/transformers serve models/tiny/qwen2-vl --host 127.0.0.1 --port $(or $(PORT),8000) --device cpu

$(TINY)/qwen2-vl/config.json: infra/tiny/qwen2_vl.py | $(MODELS_INSTALLED)
	@$(BIN)/python -c 'from pathlib import Path; from infra.tiny.qwen2_vl import write_qwen2_vl; write_qwen2_vl(Path("$(@D)"))'

.PHONY: browse
browse: $(CORE) ## look at datasets in a web browser: [OUT=data] [PORT=8008, or the next free one] [SHARE=folder]
	@$(XPROMPT) browse $(GIVEN)

.PHONY: verify
verify: $(CORE) ## check every byte and row of datasets: [OUT=data]
	@$(XPROMPT) verify $(GIVEN)

.PHONY: chromium
chromium: # for tests and bench of the browse page; skipped where it cannot be had
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
		|| echo "No chromium, and it cannot be installed here: what needs it will be skipped."

.PHONY: test
test: $(DEV) chromium ## install everything and run the tests
	@# A worker more than cores: they wait for Rays and servers for half of their time.
	@$(BIN)/python -m pytest -n $$(( $$(nproc) + 1 )) --dist loadgroup --no-loadscope-reorder

.PHONY: chaos
chaos: $(DEV) ## kill workers, drivers and nodes at random, ten times over, and compare bytes (minutes)
	@$(BIN)/python -m pytest -m chaos

.PHONY: infra-test
infra-test: $(DEV) ## run what needs Slurm, Prometheus or mmdebstrap, which it installs on Debian as root (minutes)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq >/dev/null \
		&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge prometheus mmdebstrap >/dev/null; fi
	@$(BIN)/python -m pytest -m infra

.PHONY: fuzz
fuzz: $(DEV) ## feed the readers with damaged files, and save what fails in fuzz-failures: [MINUTES=10 | COUNT=n] [SEED=0]
	@$(BIN)/python -m tests.fuzz $(if $(COUNT),--count $(COUNT),--minutes $(or $(MINUTES),10)) --seed $(or $(SEED),0)

.PHONY: docs
docs: $(DEV) ## build the documents as a site, into infra/docs/site; a link that leads nowhere is an error
	@$(BIN)/zensical build --strict --clean --config-file infra/docs/zensical.toml
	@echo "To read it: $(BIN)/python -m http.server --directory infra/docs/site, then http://127.0.0.1:8000"

.PHONY: check
check: $(DEV) docs ## lint, formatting, types and the documents' links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

.PHONY: bench
bench: $(DEV) chromium $(TINY)/.made ## compare the engine with plain scripts and naive Ray Data, side by side (minutes)
	@$(BIN)/python -m infra.bench.derain
	@$(BIN)/python -m infra.bench.cluster --part 0.25
	@$(BIN)/python -m infra.bench.scaling
	@$(BIN)/python -m infra.bench.plan
	@$(BIN)/python -m infra.bench.raie
	@$(BIN)/python -m infra.bench.packing
	@$(BIN)/python -m infra.bench.loader
	@$(BIN)/python -m infra.bench.reading
	@$(BIN)/python -m infra.bench.export --pairs 2000
	@$(BIN)/python -m infra.bench.browse
	@$(BIN)/python -m infra.bench.batching
	@$(BIN)/python -m infra.bench.vlm
	@$(BIN)/python -m infra.bench.gate
	@$(BIN)/python -m infra.bench.masks
	@$(BIN)/python -m infra.bench.generate

.PHONY: release
release: $(DEV) ## make the files of a release in dist/, of a tagged commit whose versions agree: [DRAFT=1, of any commit]
	@$(BIN)/python -m infra.release $(if $(DRAFT),--draft)

.PHONY: sample
sample: $(CORE) ## make a sample dataset that may be published, of CC0 photos, and its page: [OUT=sample]
	@$(BIN)/python -m infra.release.sample --out "$(if $(findstring command line,$(origin OUT)),$(OUT),sample)"

.PHONY: clean
clean: ## remove .venv and caches; datasets stay
	rm -rf "$(VENV)" .pytest_cache .mypy_cache .ruff_cache .hypothesis
