#!/usr/bin/env bash
# Format, lint, types, floors and tests: all that a change has to pass.
# Usage: check.sh [--fast] [pytest arguments]   --fast leaves out slow and browser tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
. .venv/bin/activate

markers="not gpu"
if [ "${1:-}" = "--fast" ]; then
    markers="not gpu and not slow and not browser"
    shift
fi

ruff format --check .
ruff check .
mypy
lint-imports
python -m pytest -m "$markers" -n 2 "$@"
