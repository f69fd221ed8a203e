#!/usr/bin/env bash
# `make test`: lint, types, import contracts, unit tests, then the whole road on a lab of its own. Prints where time went.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
times=()
timed() { # timed TITLE COMMAND...
    local title=$1 start=$SECONDS
    shift
    echo "[test] $title"
    "$@"
    times+=("$(printf '%6d s  %s' $((SECONDS - start)) "$title")")
}
timed "ruff" $bin/ruff check .
timed "mypy" $bin/mypy
timed "import contracts" $bin/lint-imports
timed "bundle from Go modules" $bin/strongroom bundle build --from go-modules
# What needs no emulated host shares the processors; the hosts get them alone, for their start-ups have deadlines.
timed "pytest, without hosts" $bin/pytest --hypothesis-profile repeatable -n "$(nproc)" \
    -m "not lab and not workers" --durations=10 --ignore tests/bench
# Times mean something on a processor of one's own only, and are printed.
timed "pytest, how long attestation takes" $bin/pytest tests/bench
# Left out for their time: see docs/testing.md.
timed "pytest, with hosts" $bin/pytest -m lab --durations=20 --deselect tests/lab/test_upgrade.py
printf '[test] where time went\n'
printf '%s\n' "${times[@]}"
