#!/usr/bin/env bash
# Converts weights of other projects and measures them beside the default models, the codecs and the KLT.
# Usage: compare_models.sh [NAME=]WEIGHTS[,CONFIG]...
#   WEIGHTS  file or folder that `ct-vae convert` reads, for example of MAISI, OpenVAE-3D or MedVAE
#   CONFIG   its configuration, JSON or YAML; groups of normalizations default to 32
# The environment gives VOLUMES (default: three CT of CT_VAE_TEST_DATA), MODELS that are measured too
# (default: "ct-f4 ct-f4c16") and OUT (default: build/compare_models). The page is OUT/quality.md.
set -euo pipefail
if [ "$#" -lt 1 ]; then
    sed -n '2,7p' "$0" >&2
    exit 2
fi
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
data="${CT_VAE_TEST_DATA:-$scripts/../../shared/data}"
out="${OUT:-build/compare_models}"
default="abdomen_3mm=$data/nifti/abdomen_3mm.nii.gz abdomen_512=$data/dicom/abdomen_512"
default="$default pelvis_float32_qform=$data/nifti/pelvis_float32_qform.nii.gz"
read -r -a volumes <<<"${VOLUMES:-$default}"
read -r -a models <<<"${MODELS-ct-f4 ct-f4c16}"

given=()
for model in "${models[@]}"; do
    given+=(--model "$model")
done
for weights in "$@"; do
    given+=(--weights "$weights")
done
mkdir -p "$out"
"${PYTHON:-python}" "$scripts/quality.py" "${volumes[@]}" "${given[@]}" -o "$out/quality.md"
echo "$out/quality.md"
