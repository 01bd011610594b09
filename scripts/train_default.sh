#!/usr/bin/env bash
# Trains a default model from the packed data, and goes on where it stopped when run again.
# Usage: train_default.sh [--wheels DIR] DATA [CONFIG] [options of ct-vae train]
#   DATA    folder with the packed volumes and unpack.py, or the unpacked train/ and val/
#   CONFIG  configs/ct_f4.json by default, configs/ct_f4_large.json where there is a GPU
# Earlier stages, named by ckpt_path or trunk_from in CONFIG, are trained first. The result is written to
# runs/<name of CONFIG>; docs/default_model.md describes the stages.
# scripts/setup.sh makes the environment first. Where there is no network, PYTHON names an interpreter with
# PyTorch instead, and --wheels DIR installs the other packages for the time of the run. WORK is the folder for
# train_ct and runs, the checkout by default.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/offline_python.sh"

wheels=""
case "${1:-}" in
    --wheels) wheels="$(realpath "${2:?--wheels needs a folder}")"; shift 2 ;;
    --wheels=*) wheels="$(realpath "${1#*=}")"; shift ;;
esac
if [ "$#" -lt 1 ]; then
    sed -n '2,10p' "$0" >&2
    exit 2
fi
data="$(realpath "$1")"
shift
[ -n "$wheels${PYTHON:-}" ] || bash "$root/scripts/setup.sh"
offline_python "$root" "$wheels"

config="$root/configs/ct_f4.json"
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    config="$root/configs/ct_f4_large.json"
fi
case "${1:-}" in
    *.json)
        config="$1"
        # Such as configs/ct_f4.json, from any folder.
        [ -f "$config" ] || config="$root/$1"
        config="$(realpath "$config")"
        shift
        ;;
esac

mkdir -p "${WORK:-$root}/runs"
cd "${WORK:-$root}"
if [ ! -f train_ct/datalist.json ]; then
    mkdir -p train_ct
    if [ -f "$data/unpack.py" ]; then
        "$python" "$data/unpack.py" train_ct
    else
        cp -r "$data/train" "$data/val" train_ct/
    fi
    "$python" "$root/scripts/default_datalist.py" train_ct
fi
# Threads that spin while they wait slow down whatever else runs.
export OMP_WAIT_POLICY=PASSIVE
# A stage is trained before the stage that continues from its weights.
train() {
    local config="$1" before
    shift
    before="$(sed -nE 's/.*"(ckpt_path|trunk_from)": "runs\/([^"]+)".*/\2/p' "$config")"
    if [ -n "$before" ] && [ ! -f "runs/$before/done" ]; then
        train "$(dirname "$config")/$before.json" "$@"
        touch "runs/$before/done"
    fi
    "$python" -m ct_vae train "$config" --resume "$@"
}
train "$config" "$@"
