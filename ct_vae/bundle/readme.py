"""``docs/README.md`` of a bundle."""

from __future__ import annotations

from typing import Any

_TEXT = """# {name}
{description}

## Use
Run the commands in the folder of the bundle, or give `--bundle_root`. `dataset_dir` is a file,
folder or glob pattern of NIfTI or DICOM volumes.

```bash
python -m monai.bundle run --config_file configs/inference.json --dataset_dir CT --output_dir out
python -m monai.bundle run --config_file configs/encode.json --dataset_dir CT --output_dir latents
python -m monai.bundle run --config_file configs/decode.json --dataset_dir latents --output_dir out
python -m monai.bundle run --config_file configs/evaluate.json --dataset_dir CT --output_dir out
python -m monai.bundle run --config_file configs/train.json --dataset_dir CT
torchrun --nproc-per-node=2 -m monai.bundle run \\
    --config_file "['configs/train.json','configs/multi_gpu_train.json']" --dataset_dir CT
python -m monai.bundle ckpt_export --config_file configs/inference.json --use_trace True
```

Latents have the same format as those of `ct-vae encode`, and `ct-vae decode` can decode them.
`models` is a `ct_vae` model folder.

## Validation
{measured}
"""


def bundle_readme(metadata: dict[str, Any]) -> str:
    """Return the text of the README.

    Args:
        metadata: Metadata of the bundle.
    """
    measured = metadata["eval_metrics"]
    rows = [f"| {name} | {value:.4g} |" for name, value in measured.items()]
    table = "\n".join(["| validation metric | value |", "|---|---|", *rows])
    none = "This model has no validation metrics."
    return _TEXT.format(
        name=metadata["name"],
        description=metadata["description"],
        measured=table if measured else none,
    )
