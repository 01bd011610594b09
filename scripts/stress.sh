#!/usr/bin/env bash
# Long proofs that nothing breaks: memory over 300 cases and 6000 steps, mutated inputs, kills.
# Under 30 minutes.
# Usage: stress.sh [--scale 0.1]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ ! -d .venv ] || . .venv/bin/activate
export OMP_NUM_THREADS=1
PYTHONPATH=. python scripts/stress.py "$@"
