#!/usr/bin/env bash
# Shows the package at work: makes .venv, sends a CT through the default model, trains a small model of
# the same kind, and compares both with codecs that need no network. Stopped by a signal, it goes on
# from there when run again; results lie in
# runs/demo.
# Usage: demo.sh [CT]   a volume, DICOM folder or archive of your own; a generated CT by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh baselines
. .venv/bin/activate
exec python scripts/demo.py "$@"
