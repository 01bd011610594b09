"""Model folders: weights, configuration, model card, and checksums of all files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ct_vae.config.model_folder import ModelFolderConfig
from ct_vae.errors import OutputError, WeightsError
from ct_vae.io.atomic.file import atomic_write, sha256_file, write_text
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.build import build_model
from ct_vae.models.weights import CONFIG_KEY, WEIGHTS, own_config, weights_bytes

CONFIG = "config.json"
CARD = "MODEL_CARD.md"
SUMS = "SHA256SUMS"
_SUM_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Model loaded from a folder.

    Attributes:
        model: Autoencoder in evaluation mode, on the CPU.
        config: Architecture, preprocessing and latent statistics.
        sha256: Digest of the weights file, which identifies the model in latent records.
        encoder_sha256: Digest of the float32 weights that determine the latent of an image. It is
            unchanged if only the decoder is trained further.
    """

    model: Autoencoder
    config: ModelFolderConfig
    sha256: str
    encoder_sha256: str


def save_model_folder(
    folder: Path,
    model: Autoencoder,
    config: ModelFolderConfig,
    card: str,
    metadata: Mapping[str, str],
) -> None:
    """Write or replace a model folder so that it stays readable if writing is interrupted.

    Killing the process between two renames leaves files of two saves in the folder. Therefore the
    weights file also contains the configuration and takes precedence, and the checksums written
    first accept both the old and the new files.

    Args:
        folder: Folder, created if missing.
        model: Model to save.
        config: Configuration of the model.
        card: Model card in Markdown.
        metadata: Further metadata of the weights file.

    Raises:
        OutputError: If a file cannot be written; the previous model is left intact.
    """
    text = config.model_dump_json(indent=2) + "\n"
    weights = weights_bytes(model.state_dict(), {CONFIG_KEY: text, **metadata})
    new = {CONFIG: text.encode(), CARD: card.encode(), WEIGHTS: weights}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in new.items())
    write_text(folder / SUMS, sums + _sums_of_present(folder))
    for name, data in new.items():
        with atomic_write(folder / name) as file:
            file.write(data)
    write_text(folder / SUMS, sums)


def remove_model(folder: Path) -> None:
    """Remove a model from a folder; other files are kept.

    Raises:
        OutputError: If a file cannot be removed.
    """
    try:
        # Weights first: a folder without weights is not a model folder.
        for name in (WEIGHTS, CONFIG, CARD, SUMS):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot remove the earlier {folder}: {error.strerror}",
            "choose another training.output_dir",
        ) from error


def load_model_folder(folder: Path) -> LoadedModel:
    """Load a model folder or run folder.

    Raises:
        WeightsError: If a file is missing or differs from its checksum, or if the weights have
            another architecture or a newer format.
    """
    if folder.is_file():
        raise WeightsError(
            f"{folder}: a file, not a model folder", "give the folder that contains it"
        )
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise WeightsError(
            f"{folder}: not a model folder, {WEIGHTS} is missing",
            "give the folder of a training run that has saved a model",
        )
    sha256 = _verify(folder)
    config = own_config(weights)
    if config is None:
        raise WeightsError(f"{weights}: contains no configuration of this package")
    model = build_model(config.model, weights).eval()
    return LoadedModel(model, config, sha256, encoder_digest(model))


def encoder_digest(model: Autoencoder) -> str:
    """Return the digest of the weights that determine the latent of an image, in any precision."""
    digest = hashlib.sha256()
    for part, module in sorted(model.encoding_parts().items()):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name} {tuple(tensor.shape)}\n".encode())
            wide = tensor.detach().cpu()
            wide = wide.float() if wide.is_floating_point() else wide
            digest.update(wide.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _sums_of_present(folder: Path) -> str:
    present = [name for name in (CONFIG, CARD, WEIGHTS) if (folder / name).is_file()]
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in present)


def _verify(folder: Path) -> str:
    """Check all files against their checksums; return the digest of the weights."""
    accepted = _read_sums(folder)
    digests = {}
    for name in (CONFIG, CARD, WEIGHTS):
        file = folder / name
        if not file.is_file():
            raise WeightsError(f"{file}: missing", "copy the whole model folder")
        digests[name] = sha256_file(file)
        if digests[name] not in accepted.get(name, ()):
            raise WeightsError(
                f"{file}: its sha256 {digests[name][:12]}... is not the one in {SUMS}",
                "the file was damaged or edited: copy the folder again or train anew",
            )
    return digests[WEIGHTS]


def _read_sums(folder: Path) -> dict[str, list[str]]:
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise WeightsError(
            f"{folder / SUMS}: is missing or unreadable", "copy the whole model folder"
        ) from None
    accepted: dict[str, list[str]] = {}
    for line in lines:
        match = _SUM_LINE.fullmatch(line)
        if match is None:
            raise WeightsError(f"{folder / SUMS}: not a line of checksums: {line[:80]!r}")
        accepted.setdefault(match[2], []).append(match[1])
    return accepted
