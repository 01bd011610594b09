import fcntl

import pytest

from ct_vae.bundle.write_bundle import write_bundle
from ct_vae.io import write_volume
from ct_vae.phantoms.make_phantom import make_phantom
from tests._small import ct_volume
from tests.cli._run import call


@pytest.fixture(scope="session")
def bundle(model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "small"
    write_bundle(model_folder, folder)
    return folder


@pytest.fixture(scope="session")
def ct_folder(tmp_path_factory):
    """Two volumes whose sides are no multiples of the factor."""
    folder = tmp_path_factory.mktemp("ct")
    write_volume(ct_volume((13, 10, 11)), folder / "a.nii.gz")
    write_volume(ct_volume((9, 14, 8), seed=1), folder / "b.nii.gz")
    return folder


@pytest.fixture(scope="session")
def quickstart(repository, tmp_path_factory, worker_id):
    """The quickstart model, trained by its own configuration on less."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder = shared / "quickstart"
    less = {
        "data.phantoms.train": 1,
        "data.phantoms.spacing_mm": "[6.0,6.0,6.0]",
        "training.samples": 64,
        "training.save_every": 64,
        "training.warmup_samples": 16,
        "training.output_dir": folder,
    }
    settings = [word for key, value in less.items() for word in ("--set", f"{key}={value}")]
    # Whichever process comes first trains for all of them.
    with (shared / "quickstart.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "SHA256SUMS").is_file():
            code, text = call("train", repository / "configs" / "quickstart.json", *settings)
            assert code == 0, text
    return folder


@pytest.fixture(scope="session")
def quickstart_bundle(quickstart, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "quickstart"
    assert call("bundle", quickstart, "-o", folder, "--authors", "A. Author")[0] == 0
    return folder


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """A phantom that training has not seen; its sides are even."""
    path = tmp_path_factory.mktemp("phantom") / "thorax.nii.gz"
    write_volume(make_phantom("thorax", 99, 8.0, (40, 32, 24)), path)
    return path
