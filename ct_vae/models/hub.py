"""Model folders on the Hugging Face Hub: loading, saving and uploading.

The functions take the arguments of the mixin of ``huggingface_hub``, which is an optional
dependency; the mixin itself would make every import of a model wait for it.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ct_vae.config.default_models import default_models, find_model
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, OutputError, WeightsError
from ct_vae.io.atomic.file import write_text
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.model_folder import (
    CARD,
    CONFIG,
    SUMS,
    LoadedModel,
    load_model_folder,
    save_model_folder,
)
from ct_vae.models.weights import WEIGHTS

SCHEME = "hf://"
_FILES = [CONFIG, CARD, WEIGHTS, SUMS]
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_ADDRESS = re.compile(
    r"hf://(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[^#@]+))?(#sha256=(?P<sha256>[0-9a-f]{12,64}))?"
)


@dataclass(frozen=True)
class HubModel:
    """Address of a model on the Hub.

    Attributes:
        repository: Identifier such as ``organization/name``.
        revision: Branch, tag or commit; ``None`` is the main branch.
        sha256: Digest of the weights, or its first 12 or more digits, which the download must
            have; optional.
    """

    repository: str
    revision: str | None = None
    sha256: str | None = None

    @classmethod
    def parse(cls, address: str) -> HubModel:
        """Parse ``hf://organization/name@revision#sha256=digest``; the last two are optional.

        Raises:
            ConfigError: If the address is of another form.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ConfigError(
                f"{address}: not an address of a model",
                "write hf://organization/name@revision#sha256=digest; the last two are optional",
            )
        return cls(found["id"], found["revision"], found["sha256"])


def load_model(source: str | Path, **download: Any) -> LoadedModel:
    """Load a model folder, a default model, or a model on the Hub.

    Args:
        source: Folder, name of a default model, or address such as ``hf://organization/name``.
        download: Arguments of `download_model`.

    Raises:
        WeightsError: If the model is incomplete or damaged, cannot be downloaded, or has another
            digest than its address says.
    """
    if not str(source).startswith(SCHEME):
        return load_model_folder(find_model(source))
    wanted = HubModel.parse(str(source))
    loaded = load_model_folder(download_model(wanted, **download))
    if wanted.sha256 is not None and not loaded.sha256.startswith(wanted.sha256):
        raise WeightsError(
            f"{source}: the weights have sha256 {loaded.sha256}",
            "the repository has changed; do not use it unless you trust the change",
        )
    return loaded


def download_model(
    model: HubModel,
    *,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """Download a model, or find it in the cache, and return its folder.

    Args:
        model: Address on the Hub.
        cache_dir: Cache folder; defaults to that of ``huggingface_hub``.
        force_download: If true, download again; defaults to false.
        local_files_only: If true, use the cache only; defaults to false.
        token: Access token; defaults to the stored one.

    Raises:
        WeightsError: If the repository does not exist, or the Hub cannot be reached and the model
            is not in the cache.
    """
    hub = _hub()
    try:
        folder = hub.snapshot_download(
            model.repository,
            revision=model.revision,
            allow_patterns=_FILES,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
    except hub.errors.RepositoryNotFoundError as error:
        raise WeightsError(
            f"{SCHEME}{model.repository}: no such repository, or no access to it",
            "check the name, or log in with 'hf auth login'",
        ) from error
    except hub.errors.RevisionNotFoundError as error:
        raise WeightsError(
            f"{SCHEME}{model.repository}: no revision {model.revision}", "check the revision"
        ) from error
    except (hub.errors.LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(
            f"{SCHEME}{model.repository}: not in the cache, and the Hub cannot be reached",
            "a repository needs a network the first time; download it where there is one",
        ) from error
    return Path(folder)


def from_pretrained(
    kind: type[Autoencoder], source: str | Path, revision: str | None = None, **download: Any
) -> Autoencoder:
    """Load a trained model of a class, as `Autoencoder.from_pretrained` describes.

    Raises:
        WeightsError: If the model cannot be loaded or is of another class.
    """
    text = str(source)
    is_repository = (
        isinstance(source, str)
        and text not in default_models()
        and not Path(text).exists()
        and _REPOSITORY.fullmatch(text) is not None
    )
    if is_repository:
        text = f"{SCHEME}{text}" + (f"@{revision}" if revision else "")
        loaded = load_model(text, **download)
    elif revision is not None:
        raise ConfigError(f"{source}: only repositories have revisions", "leave revision out")
    else:
        loaded = load_model(source, **download)
    if not isinstance(loaded.model, kind):
        name = type(loaded.model).__name__
        raise WeightsError(f"{source}: a {name}, not a {kind.__name__}", f"use {name}")
    loaded.model.pretrained_config = loaded.config
    return loaded.model


def save_pretrained(
    model: Autoencoder,
    folder: str | Path,
    config: ModelFolderConfig | None = None,
    license: str | None = None,  # noqa: A002 - the name of the field in the card
) -> None:
    """Write a model folder with a model card for the Hub.

    Args:
        model: Model to save.
        folder: Folder, created if missing.
        config: Preprocessing and latent statistics; defaults to those that the model was loaded
            with, or else to the default preprocessing and the model's scaling factor.
        license: Identifier of the license of the weights; optional.

    Raises:
        OutputError: If a file cannot be written.
    """
    path = Path(folder)
    settings = config or model.pretrained_config or _default_config(path.name, model)
    card = model_card(model, settings, license)
    save_model_folder(path, model, settings, card, {})
    write_text(path / "README.md", card)


def push_to_hub(  # noqa: PLR0913 - the arguments of the mixin of huggingface_hub
    model: Autoencoder,
    repo_id: str,
    *,
    config: ModelFolderConfig | None = None,
    license: str | None = None,  # noqa: A002
    commit_message: str = "Upload model",
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Upload a model to a repository of the Hub, which is created if missing.

    Args:
        model: Model to upload.
        repo_id: Repository such as ``organization/name``.
        config: As in `save_pretrained`.
        license: As in `save_pretrained`.
        commit_message: Message of the commit.
        private: If true, a new repository is private.
        token: Access token; defaults to the stored one.
        branch: Branch; defaults to the main branch.
        create_pr: If true, open a pull request instead of a commit.

    Returns:
        URL of the commit.

    Raises:
        OutputError: If the upload fails.
    """
    hub = _hub()
    settings = config or model.pretrained_config
    settings = settings or _default_config(repo_id.rpartition("/")[2], model)
    try:
        api = hub.HfApi(token=token)
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with tempfile.TemporaryDirectory() as folder:
            save_pretrained(model, folder, settings, license)
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
            )
    except (OSError, hub.errors.HfHubHTTPError) as error:
        raise OutputError(
            f"{repo_id}: the model cannot be uploaded: {error}",
            "check the network, and log in with 'hf auth login'",
        ) from error
    return str(commit)


def model_card(model: Autoencoder, config: ModelFolderConfig, license_: str | None) -> str:
    """Return a model card in Markdown, with the YAML header that the Hub reads."""
    factor = " x ".join(map(str, model.factor))
    low, high = config.preprocess.window_hu
    header = ["---", "library_name: ct_vae"]
    header += [f"license: {license_}"] if license_ else []
    header += ["tags:", *(f"- {tag}" for tag in ("ct", "medical-imaging", "autoencoder")), "---"]
    lines = [
        *header,
        "",
        f"# {config.name}",
        "",
        f"{type(model).__name__} of the package `ct_vae` for CT in HU from {low:g} to {high:g}: "
        f"{factor} voxels become {model.latent_channels} numbers. Not for diagnosis.",
        "",
        "```python",
        f"from ct_vae.models import {type(model).__name__}",
        "",
        f'model = {type(model).__name__}.from_pretrained("organization/name")',
        "```",
        "",
    ]
    return "\n".join(lines)


def _default_config(name: str, model: Autoencoder) -> ModelFolderConfig:
    return ModelFolderConfig(
        name=name,
        model=model.config.model_copy(update={"ckpt_path": None}),
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=model.scaling_factor, shift_factor=model.shift_factor),
    )


def _hub() -> ModuleType:
    """Import ``huggingface_hub``.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ConfigError(
            "models on the Hub need the package huggingface_hub",
            "install it: pip install 'ct_vae[hub]'",
        ) from error
    return huggingface_hub
