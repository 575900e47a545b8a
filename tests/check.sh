#!/usr/bin/env bash
# Everything that must hold before a change lands; what `make test` and CI run. Arguments go to pytest; without
# them, which is all tests, those of stacks and all others run at the same time (tests/lanes.py).
# The shim's own checks (-Wall -Wextra -Werror, unit tests under ASan and UBSan) are run by pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="${VENV:-$PWD/.venv}/bin:$PATH"

run() {
    printf -- '-- %s\n' "$*"
    "$@"
}

run ruff format --check --quiet .
run ruff check --quiet .
run mypy --strict
run lint-imports
if [ $# -gt 0 ]; then
    run python -m pytest "$@"
else
    run python -m tests.lanes
fi
