#!/bin/sh
# Make a virtual environment: venv.sh PYTHON FOLDER. Debian keeps the module in a package of its own,
# which is installed when we are root and else asked for.
set -eu
python=$1 folder=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: Python 3.11 or newer is needed, \"$python\" is older or missing" >&2
    echo "hint: Name another one: make PYTHON=python3.12 up" >&2
    exit 5
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "error: \"$python\" cannot make virtual environments" >&2
        echo "hint: Type: sudo apt-get install python3-venv" >&2
        exit 5
    fi
    echo "python environment: installing the package python3-venv"
    log=$(mktemp)
    { apt-get -q update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends python3-venv; } \
        >"$log" 2>&1 || { cat "$log" >&2; exit 5; }
fi
# An interrupted one is never taken for whole: pip, which make looks for, comes last.
rm -rf "$folder"
"$python" -m venv "$folder" || { rm -rf "$folder"; exit 5; }
