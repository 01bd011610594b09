"""Running the workflows of a bundle, and comparing what they write with what commands write."""

import json

import monai.bundle
import nibabel
import numpy as np
import torch

# By name of the configuration, what MONAI calls such a workflow.
WORKFLOWS = {
    "inference": "inference",
    "encode": "inference",
    "decode": "inference",
    "evaluate": "inference",
    "train": "train",
}
# Of a run and of its moment, and not of a latent: when, in how much memory, with which remarks.
# The digest is of the file, which holds the record.
_PASSING = ("run", "file_sha256", "warnings")


def run(bundle, name, cases, out, **more):
    data = {} if cases is None else {"dataset_dir": str(cases)}
    monai.bundle.run(
        config_file=str(bundle / f"configs/{name}.json"),
        workflow_type=WORKFLOWS[name],
        logging_file=False,
        bundle_root=str(bundle),
        output_dir=str(out),
        device="cpu",
        **data,
        **more,
    )


def same_image(a, b):
    first, second = nibabel.load(a), nibabel.load(b)
    assert np.array_equal(first.affine, second.affine)
    assert np.array_equal(first.get_fdata(), second.get_fdata())
    assert first.get_data_dtype() == second.get_data_dtype()


def same_record(a, b):
    first, second = (json.loads(p.read_text()) for p in (a, b))
    for record in (first, second):
        for key in _PASSING:
            record.pop(key)
        # What the process holds already is part of the estimate.
        record["tiling"].pop("estimate_mb")
    assert first == second


class Patches(torch.utils.data.Dataset):
    """Four patches of noise in HU."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        noise = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(index))
        return {"image": 100 * noise}
