"""Safetensors files of weights, and loading of weights into models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ct_vae.config.model_folder import ModelFolderConfig, parse_model_folder
from ct_vae.errors import WeightsError

WEIGHTS = "model.safetensors"
# Metadata key of the configuration in a weights file.
CONFIG_KEY = "ct_vae"
_SHOWN = 3
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Bytes of the header's length at the start of a safetensors file, and alignment of its data.
_HEADER = 8
# First bytes of files that are often mistaken for weights, their description and a hint.
_FOREIGN = (
    (
        (b"\x80", b"PK\x03\x04"),
        "a pickle, which could run any code",
        "'ct-vae convert' turns it into a model folder if its name ends in .pt",
    ),
    ((b"version https://git-lfs",), "a Git LFS pointer", "fetch the real file with git lfs pull"),
    ((b"<",), "a web page", "the download failed: repeat it with the address of the file itself"),
)


def weights_bytes(state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """Serialize tensors and metadata to the content of a ``.safetensors`` file.

    Equal tensors and metadata give equal bytes, so a model that is saved again keeps its digest.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    content = save(tensors, {"format": "pt", **metadata})
    # The library writes metadata in an order that differs between calls.
    end = _HEADER + int.from_bytes(content[:_HEADER], "little")
    header = json.loads(content[_HEADER:end])
    texts = {"__metadata__": dict(sorted(header.pop("__metadata__").items()))}
    sorted_header = json.dumps(texts | header, separators=(",", ":")).encode()
    padded = sorted_header + b" " * (-len(sorted_header) % _HEADER)
    return len(padded).to_bytes(_HEADER, "little") + padded + content[end:]


def own_config(path: str | Path) -> ModelFolderConfig | None:
    """Return the configuration inside a weights file or model folder of this package, or ``None``.

    Raises:
        WeightsError: If the file is damaged or its configuration has a newer format.
    """
    text = load_metadata(path).get(CONFIG_KEY)
    return None if text is None else parse_model_folder(text, f"{path}, configuration inside")


def load_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Load a ``.safetensors`` file, or the one in a model folder.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If the file is missing, damaged, or of another format.
    """
    with _opened(Path(path)) as tensors:
        # Memory-mapped tensors would change when the file is replaced.
        return {name: tensors.get_tensor(name).clone() for name in tensors.keys()}  # noqa: SIM118


def load_metadata(path: str | Path) -> dict[str, str]:
    """Load only the metadata of a ``.safetensors`` file.

    Raises:
        WeightsError: If the file is missing, damaged, or of another format.
    """
    with _opened(Path(path)) as tensors:
        return dict(tensors.metadata() or {})


def load_into(
    model: nn.Module, state: Mapping[str, torch.Tensor], where: str = "the weights"
) -> None:
    """Copy tensors into a model with exactly these names and shapes.

    Args:
        model: Model; it is changed completely or not at all.
        state: Tensors by name.
        where: Name of the tensors in messages.

    Raises:
        WeightsError: If tensors are missing, unexpected, of another shape or kind of number, or not
            finite; the message lists them and the model is unchanged.
    """
    own = model.state_dict()
    problems = [
        _listed("missing", sorted(own.keys() - state.keys())),
        _listed("unexpected", sorted(state.keys() - own.keys())),
        _listed("of another shape", _misshapen(own, state)),
        _listed("of another kind", _of_another_kind(own, state)),
        _listed("with values that are not finite", _not_finite(own, state)),
    ]
    told = "; ".join(problem for problem in problems if problem)
    if told:
        raise WeightsError(f"{where} do not fit the model: {told}")
    model.load_state_dict(dict(state))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise WeightsError(f"{file}: no such weights file")
    try:
        _refuse_foreign(file)
        with safe_open(file, framework="pt", device="cpu") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{file}: not a readable safetensors file: {error}", "copy it again from its source"
        ) from None


def _misshapen(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> list[str]:
    return [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if own[name].shape != state[name].shape
    ]


def _of_another_kind(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]
) -> list[str]:
    return [
        f"{name} {_kind(state[name])} instead of {_kind(own[name])}"
        for name in sorted(own.keys() & state.keys())
        if state[name].dtype != own[name].dtype
        and not {state[name].dtype, own[name].dtype} <= set(_PRECISIONS)
    ]


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _not_finite(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> list[str]:
    return [
        name
        for name in sorted(own.keys() & state.keys())
        if state[name].dtype in _PRECISIONS and not state[name].isfinite().all()
    ]


def _listed(kind: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{more})"


def _refuse_foreign(file: Path) -> None:
    with file.open("rb") as stream:
        head = stream.read(32)
    # Eight bytes of length, then JSON. The length may begin with the bytes of a pickle.
    if head[8:9] == b"{":
        return
    for beginnings, what, hint in _FOREIGN:
        if head.lstrip().startswith(beginnings):
            raise WeightsError(f"{file}: {what}; only safetensors are read", hint)
