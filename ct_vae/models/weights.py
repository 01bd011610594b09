"""Tensors in one safetensors file, and from there into a model, wholly or not at all."""

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
# Name of the text in a weights file that holds the configuration.
CONFIG_KEY = "ct_vae"
_SHOWN = 3
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# A safetensors file begins with the length of its header in so many bytes, and aligns to them.
_HEADER = 8
# How files begin that often stand in the place of weights, what they are, and the way out.
_FOREIGN = (
    (
        (b"\x80", b"PK\x03\x04"),
        "a pickle, which could run any code",
        "with the ending .pt, 'ct-vae convert' makes a model folder of it",
    ),
    ((b"version https://git-lfs",), "a Git LFS pointer", "fetch the real file with git lfs pull"),
    ((b"<",), "a web page", "the download failed: repeat it with the address of the file itself"),
)


def weights_bytes(state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a ``.safetensors`` file that holds tensors by name and texts beside them.

    The same tensors and texts give the same bytes, so that a model saved again keeps its digest.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    content = save(tensors, {"format": "pt", **metadata})
    # The library puts the texts in an order that differs from one call to the next.
    end = _HEADER + int.from_bytes(content[:_HEADER], "little")
    header = json.loads(content[_HEADER:end])
    texts = {"__metadata__": dict(sorted(header.pop("__metadata__").items()))}
    sorted_header = json.dumps(texts | header, separators=(",", ":")).encode()
    padded = sorted_header + b" " * (-len(sorted_header) % _HEADER)
    return len(padded).to_bytes(_HEADER, "little") + padded + content[end:]


def own_config(path: str | Path) -> ModelFolderConfig | None:
    """The configuration inside a weights file or model folder of this package; else ``None``.

    Raises:
        WeightsError: If the file is damaged, or its configuration of a newer format.
    """
    text = load_metadata(path).get(CONFIG_KEY)
    return None if text is None else parse_model_folder(text, f"{path}, configuration inside")


def load_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a ``.safetensors`` file, or the one in a model folder.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        WeightsError: If it is missing, damaged, or of another format.
    """
    with _opened(Path(path)) as tensors:
        # Mapped memory would change under the model when the file is replaced.
        return {name: tensors.get_tensor(name).clone() for name in tensors.keys()}  # noqa: SIM118


def load_metadata(path: str | Path) -> dict[str, str]:
    """Read only the texts that a ``.safetensors`` file carries.

    Raises:
        WeightsError: If it is missing, damaged, or of another format.
    """
    with _opened(Path(path)) as tensors:
        return dict(tensors.metadata() or {})


def load_into(
    model: nn.Module, state: Mapping[str, torch.Tensor], where: str = "the weights"
) -> None:
    """Copy tensors into a model of exactly these names and shapes.

    Args:
        model: Changed wholly or not at all.
        state: Tensors by name.
        where: What the tensors are called in messages.

    Raises:
        WeightsError: With what is missing, what is unexpected, what has another shape, what holds
            integers instead of floating-point numbers or the other way round, and what is not
            finite; the model is left as it was.
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
    # Eight bytes of length, then JSON. The length may begin as a pickle does.
    if head[8:9] == b"{":
        return
    for beginnings, what, hint in _FOREIGN:
        if head.lstrip().startswith(beginnings):
            raise WeightsError(f"{file}: {what}; only safetensors are read", hint)
