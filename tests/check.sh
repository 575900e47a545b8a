#!/usr/bin/env bash
# Everything that must hold before a change lands; what `make test` and CI run. Arguments go to pytest.
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
run python -m pytest "$@"
