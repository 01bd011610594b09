#!/usr/bin/env bash
# From nothing to numbers: makes .venv, trains a small model on generated CTs, sends CTs that it has
# not seen through it, and shows what came of it. Safe to repeat; results lie in runs/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
. .venv/bin/activate
exec python scripts/demo.py
