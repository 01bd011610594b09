#!/usr/bin/env bash
# Runs the tests for GPUs and measures encoding, decoding and training on one GPU, in 8 minutes at most.
# Usage: gpu_check.sh [--wheels DIR] [--device cuda:0] [--minutes N] [--json FILE] [--toy] [--no-tests]
#   --wheels DIR  wheels to install first, without a network, into a temporary folder
#   --device cpu --toy  tries the whole program at tiny sizes
# Every row is written to FILE (gpu_check.json by default) as soon as it is measured;
# 'python scripts/gpu/table.py FILE' makes a table of it. PYTHON chooses the interpreter, which needs PyTorch.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/offline_python.sh"

wheels=""
arguments=()
while [ "$#" -gt 0 ]; do
    case "$1" in
        --wheels) wheels="${2:?--wheels needs a folder}"; shift 2 ;;
        --wheels=*) wheels="${1#*=}"; shift ;;
        *) arguments+=("$1"); shift ;;
    esac
done
offline_python "$root" "$wheels"
"$python" "$root/scripts/gpu/check.py" "${arguments[@]}"
