import pytest

from ct_vae.bundle.writer import write_bundle
from ct_vae.io import write_volume
from tests._small import ct_volume


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
