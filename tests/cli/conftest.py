import pytest

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.models.model_folder import save_model_folder
from tests._small import SMALL_MODEL, small_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A model folder with random weights."""
    folder = tmp_path_factory.mktemp("model")
    config = ModelFolderConfig(
        name="small",
        model=SMALL_MODEL,
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=2.0),
    )
    save_model_folder(folder, small_model(), config, "# small\n", {})
    return folder
