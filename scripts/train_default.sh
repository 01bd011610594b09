#!/usr/bin/env bash
# Trains a default model from the packed data, and goes on where it stopped when run again.
# Usage: train_default.sh DATA [CONFIG] [options of ct-vae train]
#   DATA    folder with the packed volumes and unpack.py, or the unpacked train/ and val/
#   CONFIG  configs/ct_f4.json by default, configs/ct_f4_large.json where there is a GPU
# The run lies in runs/<name of CONFIG>; docs/default_model.md tells more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "$#" -lt 1 ]; then
    sed -n '2,6p' "$0" >&2
    exit 2
fi
data="$(realpath "$1")"
shift
bash scripts/setup.sh
. .venv/bin/activate

config=configs/ct_f4.json
if python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    config=configs/ct_f4_large.json
fi
case "${1:-}" in
    *.json) config="$1"; shift ;;
esac

mkdir -p runs
if [ ! -f train_ct/datalist.json ]; then
    mkdir -p train_ct
    if [ -f "$data/unpack.py" ]; then
        python "$data/unpack.py" train_ct
    else
        cp -r "$data/train" "$data/val" train_ct/
    fi
    python scripts/default_datalist.py train_ct
fi
# Threads that spin while they wait slow down whatever else runs.
export OMP_WAIT_POLICY=PASSIVE
# A first stage is trained before the stage that goes on from its weights.
base="${config%.json}_base.json"
if [ -f "$base" ] && [ ! -f "runs/$(basename "$base" .json)/done" ]; then
    ct-vae train "$base" --resume "$@"
    touch "runs/$(basename "$base" .json)/done"
fi
exec ct-vae train "$config" --resume "$@"
