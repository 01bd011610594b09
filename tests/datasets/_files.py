"""Small volumes in files, and lists that name them."""

import json

from ct_vae.config.data import DataConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.io import write_volume
from tests._small import SMALL_MODEL, ct_volume
from tests.io._series import make_series, write_series

SHAPE = (13, 10, 11)


def write_volumes(folder, *names, shape=SHAPE):
    """A volume of its own under each name, which ``.nii.gz`` follows."""
    for seed, name in enumerate(names):
        write_volume(ct_volume(shape, seed=seed), folder / f"{name}.nii.gz")
    return folder


def write_ct_series(folder, patient="one", study="1.2.9.1", series="1.2.9.1.1", number=3, **kind):
    """A DICOM series of a patient."""
    slices = make_series(**kind)
    for k, dataset in enumerate(slices):
        dataset.PatientID, dataset.StudyInstanceUID = patient, study
        dataset.SeriesInstanceUID, dataset.SeriesNumber = series, number
        dataset.FrameOfReferenceUID = f"{study}.7"
        dataset.SOPInstanceUID = f"{series}.{k + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return write_series(folder, slices, lambda k: f"{number}_{k:03d}.dcm")


def write_list(folder, **lists):
    """A datalist, as a configuration names it."""
    path = folder / "list.json"
    path.write_text(json.dumps(lists))
    return {"datalist": str(path)}


def write_csv(folder, text, encoding="utf-8"):
    """A table, as a configuration names it."""
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    return {"csv": str(path)}


def run_config(data=None, training=None, preprocess=None, model=None):
    """A small run; each argument changes keys of its section."""
    settings = {"patch_size": (8, 8, 8), "samples": 12, "batch_size": 2, **(training or {})}
    return RunConfig(
        model=SMALL_MODEL.model_copy(update=model or {}),
        preprocess=PreprocessConfig(**(preprocess or {})),
        data=DataConfig(**(data or {})),
        training=TrainingConfig(**settings),
    )
