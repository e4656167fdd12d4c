# The targets that people and CI run. `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two tests at once, each with one thread of OpenMP: on small data more threads only wait for each other. The process
# that has finished takes half of what the other still has to do, which keeps the tests of a file together.
PAIRED := --numprocesses 2 --dist worksteal --durations=15
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
PLUGINS := $(wildcard plugins/metarec-*)
OF_CHECKOUT := tests --ignore tests/unit --ignore tests/native $(PLUGINS:%=%/tests)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-neon test-avx512 test-rust test-python test-wheel lint format docs bench wheel
.PHONY: bench-topk bench-sasrec bench-gpu bench-quality constraints clean

help:  ## show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/uv:
	@command -v cargo >/dev/null || { echo "a Rust toolchain is needed: https://rustup.rs"; exit 1; }
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed, got ' + sys.version if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

# Compiled once here, not anew in every process where Python may not write (PYTHONDONTWRITEBYTECODE): importing torch
# takes many seconds then, and the tests start hundreds of processes.
$(VENV)/installed: $(BIN)/uv pyproject.toml constraints.txt $(RUST_SOURCES) $(PLUGINS:%=%/pyproject.toml)
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode -c constraints.txt -e '.[dev]' $(PLUGINS:%=-e %)
	touch $@

setup: $(VENV)/installed  ## create .venv, build the Rust extension (release) and install everything

demo: setup  ## the whole pipeline on MovieLens-100k; writes demo-output/report.html
	$(BIN)/metarec demo --output demo-output

test: lint test-rust test-python test-wheel  ## everything that CI runs

lint: setup  ## formatters, linters, type checks, import direction
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest metarec_sdk._core
	$(BIN)/lint-imports

format: setup  ## apply the formatters
	cargo fmt --all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## write the reference of the plugin hooks from their docstrings
	$(BIN)/python docs/hook_pages.py

test-rust: setup
	cargo test --quiet --package metarec-core

test-python: setup  ## the tests of the checkout and of its plugins, all but those that test-wheel runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not timed" $(PAIRED) $(OF_CHECKOUT)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and timed" --durations=5 $(OF_CHECKOUT)

test-slow: setup  ## the longer checks that CI leaves out
	$(BIN)/python -m pytest -m slow --timeout=3600 tests $(PLUGINS:%=%/tests)

test-neon:  ## the Rust tests on an emulated AArch64; see tests/emulated/README.md
	tests/emulated/neon.sh --quiet

test-avx512:  ## the Rust tests on an emulated x86-64 with AVX-512
	tests/emulated/avx512.sh --quiet

wheel: setup  ## build the abi3 wheel into dist/
	rm -rf dist
	$(BIN)/maturin build --release --quiet --out dist

test-wheel: wheel  ## install the wheel into a clean environment and run the unit and native tests there
	$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python target/wheel-venv
	$(BIN)/uv pip install --quiet --compile-bytecode --python target/wheel-venv/bin/python -c constraints.txt "$$(ls dist/*.whl)[dev]"
	cd tests && OMP_NUM_THREADS=1 ../target/wheel-venv/bin/python -m pytest -m "not slow" $(PAIRED) unit native

bench: setup  ## the benchmarks against peers, as ratios; see benches/README.md
	$(BIN)/metarec bench

bench-topk: setup  ## exact top-k against every peer, an hour; make bench-topk OPTIONS=--quick is shorter
	$(BIN)/uv pip install --python $(BIN)/python --quiet -c constraints.txt -r pyproject.toml --extra bench
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benches/topk.py $(OPTIONS)

bench-sasrec: wheel  ## SASRec epochs against RecBole and RecTools; needs Python 3.11
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python target/sasrec-venv
	$(BIN)/uv pip install --python target/sasrec-venv/bin/python --quiet "$$(ls dist/*.whl)[torch,bench-sasrec]"
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE target/sasrec-venv/bin/python benches/sasrec_against_peers.py $(OPTIONS)

bench-quality: setup  ## the stack against tuned baselines on public data; OPTIONS=--quick before a release
	$(BIN)/metarec bench k-shot $(OPTIONS)

bench-gpu: setup  ## check and measure the Triton kernels; needs an NVIDIA GPU
	$(BIN)/python benches/heads_gpu.py
	$(BIN)/python benches/inner_adapt_gpu.py
	$(BIN)/python benches/adapters_gpu.py

constraints: setup  ## pin the environment as it is now
	$(BIN)/uv pip freeze --python $(BIN)/python --exclude-editable | grep -v '^uv==' > constraints.txt

clean:
	rm -rf $(VENV) target dist demo-output
