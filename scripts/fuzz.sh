#!/usr/bin/env bash
# Fuzz parsers for a given time each; the extra [fuzz] has to be installed.
# Usage: fuzz.sh SECONDS FOLDER [PARSER ...]   FOLDER takes logs and inputs that were found
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=$1
folder=$(realpath -m "$2")
shift 2
mkdir -p "$folder"
[ $# -gt 0 ] || set -- nifti metaimage nrrd latent dicom datalist configuration model

total=0
for parser in "$@"; do
    log=$folder/$parser.log
    : >"$log"
    end=$((SECONDS + seconds))
    # A finding ends a fuzzer; it goes on with the rest of its time, a few times.
    for _ in $(seq 20); do
        left=$((end - SECONDS))
        [ "$left" -gt 0 ] || break
        python -m tests.fuzz.run "$parser" -max_total_time="$left" \
            -artifact_prefix="$folder/${parser}_" >>"$log" 2>&1 || true
    done
    runs=$(grep -E '^(#[0-9]+[[:space:]]+DONE|Done )' "$log" | sed -n 's/^Done \([0-9]*\).*/\1/p' | awk '{n += $1} END {print n + 0}')
    found=$(find "$folder" -name "${parser}_*" | wc -l)
    total=$((total + found))
    echo "$parser: $runs executions in runs that came to their end, $found findings"
done
[ "$total" -eq 0 ]
