#!/usr/bin/env bash
# First steps of two users who have nothing but the wheel: in a fresh virtual environment, in a folder away from
# the checkout. One sends a zip of DICOM files through ct-f4; the other trains on a folder of CTs and runs the
# result as a MONAI Bundle. Every command is printed before what it prints.
# Usage: newcomer.sh [OPTION VALUE]...
#   --wheel FILE         wheel to install; built from the checkout by default
#   --venv DIR           environment in which the wheel is installed already, instead of a fresh one
#   --scan ZIP           zip of DICOM files; by default made from the test data (CT_VAE_TEST_DATA)
#   --ct DIR             folder of CTs to train on; volumes of the test data by default
#   --train-seconds N    approximate length of the training, 120 by default
#   --out DIR            new folder for the results; a temporary folder by default, which is removed
set -euo pipefail
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
data="$(realpath -m "${CT_VAE_TEST_DATA:-$checkout/../shared/data}")"
wheel="" venv="" scan="" ct="$data/nifti" seconds=120 out=""

while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || { echo "error: $1 needs a value" >&2; exit 2; }
    case "$1" in
        --wheel) wheel="$(realpath "$2")" ;;
        --venv) venv="$(realpath "$2")" ;;
        --scan) scan="$(realpath "$2")" ;;
        --ct) ct="$(realpath "$2")" ;;
        --train-seconds) seconds="$2" ;;
        --out) out="$(realpath -m "$2")" ;;
        *) echo "error: unknown option $1; options are in the first lines of ${BASH_SOURCE[0]}" >&2; exit 2 ;;
    esac
    shift 2
done
if [ ! -d "$ct" ] || { [ -z "$scan" ] && [ ! -d "$data/dicom/abdomen_512" ]; }; then
    echo "error: no CT in $data; give --scan and --ct, or set CT_VAE_TEST_DATA" >&2
    exit 3
fi
if [ -z "$out" ]; then
    out="$(mktemp -d)"
    trap 'rm -rf "$out"' EXIT
fi
mkdir -p "$out/work"

if [ -z "$venv" ]; then
    venv="$out/venv"
    "${PYTHON:-python3}" -m venv "$venv"
    if [ -z "$wheel" ]; then
        "$venv/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$out" "$checkout"
        wheel="$(echo "$out"/ct_vae-*.whl)"
    fi
    "$venv/bin/python" -m pip install --quiet --constraint "$checkout/constraints.txt" "$wheel[bundle]"
fi
export PATH="$venv/bin:$PATH"
cd "$out/work"
case "$(python -c 'import ct_vae; print(ct_vae.__file__)')" in
    "$venv"/*) ;;
    *) echo "error: ct_vae is not imported from $venv" >&2; exit 2 ;;
esac

run() {
    echo "\$ $*"
    "$@"
}

echo "--- a zip of DICOM files ---"
if [ -n "$scan" ]; then
    cp "$scan" scan.zip
else
    python -m zipfile -c scan.zip "$data/dicom/abdomen_512"
fi
run ct-vae info scan.zip
run ct-vae encode ct-f4 scan.zip -o latents
latent="$(echo latents/*_latent.nii.gz)"
run ct-vae info "$latent"
run ct-vae decode ct-f4 latents -o decoded
run ct-vae show scan.zip "$latent" "$(echo decoded/*_decoded.nii.gz)" -o scan.html
run ct-vae evaluate ct-f4 scan.zip -o evaluation

echo "--- a model for a folder of CTs ---"
ln -s "$ct" ct
run ct-vae config list
run ct-vae config new quickstart -o my.json
# The first scan of the test data warns of an empty list and names this seed.
run ct-vae scan ct -o datalist.json --val-share 0.25 --seed 3
own=(--set data.datalist=datalist.json --set data.phantoms=null)
run ct-vae config check my.json "${own[@]}"
run ct-vae train my.json "${own[@]}" --dry-run | tee dry_run.txt
# The dry run tells the seconds per step, and the configuration trains on 8 patches in each.
step="$(sed -n 's/.* at \([0-9.e-]*\) s per step.*/\1/p' dry_run.txt)"
samples="$(python -c "print(8 * max(2, round($seconds / $step)))")"
run ct-vae train my.json "${own[@]}" --set training.samples="$samples"
run ct-vae info runs/my
run ct-vae bundle runs/my -o bundle --authors "A. Author" --copyright "A. Author, 2026"
# The bundle runs on the volumes of the datalist, because MONAI ends with a traceback if one is refused.
mkdir usable
python - <<'END'
import json
from pathlib import Path

lists = json.loads(Path("datalist.json").read_text())
for name in ("training", "validation", "test"):
    for number, entry in enumerate(lists.get(name, [])):
        source = Path(entry["image"]).resolve()
        Path("usable", f"{name}_{number}_{source.name}").symlink_to(source)
END
for name in encode decode evaluate; do
    input=usable
    [ "$name" != decode ] || input=bundle_encode
    run python -m monai.bundle run --config_file "bundle/configs/$name.json" --bundle_root bundle \
        --dataset_dir "$input" --output_dir "bundle_$name"
done
ls -R bundle_encode bundle_decode bundle_evaluate
