"""Tensors out of a pickle, in a process of its own, as safetensors.

Run as a file: ``python -P unpickle.py SOURCE TARGET``. It imports nothing of this package, so that
it starts soon, and it is the only place that reads pickles: with ``weights_only``, which lets them
make tensors and plain containers and nothing else. What it finds wrong it says on one line of
standard error, with exit code 4.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

# Where training programs keep the weights in their checkpoints.
_PLACES = (
    "state_dict",
    "model_state_dict",
    "model",
    "autoencoder",
    "autoencoder_state_dict",
    "autoencoderkl",
    "net",
    "network",
    "vae",
)
_DEPTH = 3
REFUSED = 4


class Refusal(Exception):  # noqa: N818 - it is told, not handled
    """Why a file is not taken."""


def read(path: str) -> dict[str, Any]:
    """All tensors of a checkpoint's weights by name.

    Raises:
        Refusal: If it is no checkpoint, or holds more than tensors.
    """
    import torch

    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as error:
        raise Refusal(_cause(str(error))) from None
    return weights_of(content)


def weights_of(content: Any, depth: int = 0) -> dict[str, Any]:
    """The one mapping of names to tensors in what a checkpoint holds.

    Raises:
        Refusal: If there is none, or more than one.
    """
    import torch

    if not isinstance(content, Mapping) or not content:
        raise Refusal(f"holds no weights by name but {type(content).__name__}")
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        return {str(name): value for name, value in content.items()}
    places = [p for p in _PLACES if isinstance(content.get(p), Mapping) and content[p]]
    if len(places) != 1 or depth == _DEPTH:
        keys = ", ".join(str(key)[:40] for key in list(content)[:6])
        found = f"weights in several places ({', '.join(places)})" if places else "no weights"
        raise Refusal(f"holds {found}; its keys are {keys}")
    return weights_of(content[places[0]], depth + 1)


def _cause(message: str) -> str:
    """One line about why a pickle was not read."""
    foreign = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)", message)
    if foreign:
        name = foreign[1] or foreign[2]
        return f"a pickle that wants more than tensors ({name}), which could run any code"
    # PyTorch's own account of it, without its advice to read the file unsafely.
    _, _, told = message.rpartition("WeightsUnpickler error:")
    sentence = (told.split("\n\nCheck")[0].strip() or "no reason given").split(". ")[0]
    return f"damaged, or a pickle that wants more than tensors: {' '.join(sentence.split())[:160]}"


def main(source: str, target: str) -> int:
    """Read one file and write the other; gives the exit code."""
    from safetensors.torch import save_file

    try:
        state = read(source)
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return REFUSED
    # Tensors that share memory are written apart.
    save_file({name: value.detach().clone().contiguous() for name, value in state.items()}, target)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
