# Two commands: `make demo` runs the main job, `make test` passes the tests. Both make .venv first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-oracles lint types check bench rounds soak bench-live bench-peers clean

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; say which with make PYTHON=python3" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing tidegate and its dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(READY)
	$(BIN)/tidegate data import data/sample --lake lake --replace
	$(BIN)/tidegate backtest examples/demo.toml --out runs/demo
	@rm -rf runs/live
	$(BIN)/tidegate up examples/demo.toml --data runs/live --for 60s --kill 25s
	@rm -rf runs/breach
	$(BIN)/tidegate up examples/breach.toml --data runs/breach --for 25s --breach
	@echo "open runs/demo/report.html (the backtest) and runs/live/report/report.html (live) in a browser"

# The whole systems first: they are few and long, and one of them last would leave the other cores idle.
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=15 tests/live tests

# Each kernel and its plain-Python oracle over a million seeded commands and more: some minutes.
test-oracles: $(READY)
	TIDEGATE_FULL=1 $(BIN)/python -m pytest -n auto tests/kernel/test_gate_oracle.py tests/kernel/test_matching_oracle.py tests/kernel/test_replay.py tests/kernel/test_book.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: lint types test

bench: $(READY)
	$(BIN)/python benchmarks/run.py

# kill -9 of every role under load and worse, on real processes: half an hour and more. ROUNDS=2 for a short one.
ROUNDS ?= 20
rounds: $(READY)
	$(BIN)/python benchmarks/rounds.py --rounds $(ROUNDS)

# The whole system under faults drawn from seeds, on virtual time: processes killed, networks torn, people who halt and
# resume. What fails is shrunk and kept in runs/faults, with the command that shows it again: docs/faults.md.
# Another SOAK_SEED, other faults; SOAK_MINUTES real minutes.
SOAK_MINUTES ?= 60
SOAK_SEED ?= 1
soak: $(READY)
	$(BIN)/python -m tidegate.sim.lease_soak --orders 10_000_000 --seed $(SOAK_SEED)
	$(BIN)/python -m tidegate.sim.faults --soak $(SOAK_MINUTES) --seed $(SOAK_SEED) --minutes 10

# A live system, whole: five minutes. `make bench-live ARGS="--soak 60"` watches memory for an hour as well.
bench-live: $(READY)
	$(BIN)/python benchmarks/bench_live.py $(ARGS)

bench-peers: $(READY)
	$(BIN)/python benchmarks/run_peers.py

clean:
	rm -rf $(VENV) .venv-peers runs lake bench-out build *.egg-info src/*.egg-info
