import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Two workers share two cores: threads of one would wait for those of the other. Torch reads this
# when it is imported, and so do the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings

# Machines that run the suite are shared and slow at times; a slow example is not a wrong one.
settings.register_profile("ct_vae", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ct_vae")

_REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CT; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CT_VAE_TEST_DATA", _REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real CT is not at {folder}; set CT_VAE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return _REPOSITORY


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A model folder with random weights."""
    from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
    from ct_vae.config.preprocess import PreprocessConfig
    from ct_vae.models.model_folder import save_model_folder
    from tests._small import SMALL_MODEL, small_model

    folder: Path = tmp_path_factory.mktemp("model")
    config = ModelFolderConfig(
        name="small",
        model=SMALL_MODEL,
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=2.0),
    )
    save_model_folder(folder, small_model(), config, "# small\n", {})
    return folder


@pytest.fixture
def memory() -> Any:
    """The file system of an empty object store in memory."""
    import fsspec

    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return system


@pytest.fixture(scope="session")
def site(repository, tmp_path_factory) -> Path:
    """The documentation site, built without a warning."""
    pytest.importorskip("mkdocs")
    folder: Path = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=repository,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder
