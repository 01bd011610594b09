#!/usr/bin/env bash
# Makes .venv and installs the package in it with the tested versions; safe to repeat.
# Usage: setup.sh [EXTRA]   for example: setup.sh dev
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extra="${1:-}"

find_python() {
    for name in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        if [ -n "$name" ] && command -v "$name" >/dev/null &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "error: Python 3.11 or newer was not found; install it or set PYTHON" >&2
    exit 2
}

# An environment whose base interpreter is gone, or whose making was interrupted, is made anew.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    python="$(find_python)"
    "$python" -m venv .venv
fi

# The stamp names everything that decides what is installed; it is written last.
stamp=".venv/installed${extra:+-$extra}"
wanted="$(cat pyproject.toml constraints.txt | cksum) $(pwd)"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing ct_vae${extra:+[$extra]} into .venv" >&2
    .venv/bin/python -m pip install --quiet --constraint constraints.txt \
        --editable ".${extra:+[$extra]}" >&2
    echo "$wanted" >"$stamp"
fi
