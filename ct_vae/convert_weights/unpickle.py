"""Conversion of a pickle to safetensors in a separate process.

Run as a file: ``python -P unpickle.py SOURCE TARGET``. It imports nothing of this package, so that
it starts quickly, and it is the only place that reads pickles: with ``weights_only``, which
restricts them to tensors and plain containers. Errors are written as one line to standard error,
with exit code 4, or 7 if the target cannot be written.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

# Keys of the weights in checkpoints of training programs.
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
UNWRITTEN = 7


class Refusal(Exception):  # noqa: N818 - reported, not handled
    """Reason for which a file is rejected."""


def read(path: str) -> dict[str, Any]:
    """Read all tensors of a checkpoint's weights by name.

    Raises:
        Refusal: If the file is not a checkpoint, or contains more than tensors.
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
    """Find the single mapping of names to tensors in a checkpoint.

    Raises:
        Refusal: If there is none, or more than one.
    """
    import torch

    if not isinstance(content, Mapping) or not content:
        raise Refusal(f"contains no weights by name but {type(content).__name__}")
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        return {str(name): value for name, value in content.items()}
    places = [p for p in _PLACES if isinstance(content.get(p), Mapping) and content[p]]
    if len(places) != 1 or depth == _DEPTH:
        keys = ", ".join(str(key)[:40] for key in list(content)[:6])
        found = f"weights in several places ({', '.join(places)})" if places else "no weights"
        raise Refusal(f"contains {found}; its keys are {keys}")
    return weights_of(content[places[0]], depth + 1)


def _cause(message: str) -> str:
    """Return one line about the reason why a pickle was not read."""
    foreign = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)", message)
    if foreign:
        name = foreign[1] or foreign[2]
        return f"a pickle with more than tensors ({name}), which could run any code"
    # PyTorch's own message, without its advice to read the file unsafely.
    _, _, told = message.rpartition("WeightsUnpickler error:")
    sentence = (told.split("\n\nCheck")[0].strip() or "no reason given").split(". ")[0]
    return f"damaged, or a pickle with more than tensors: {' '.join(sentence.split())[:160]}"


def main(source: str, target: str) -> int:
    """Convert one file; return the exit code."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        state = read(source)
    except Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        return REFUSED
    # Tensors that share memory are written apart.
    tensors = {name: value.detach().clone().contiguous() for name, value in state.items()}
    try:
        save_file(tensors, target)
    except (OSError, SafetensorError) as error:
        sys.stderr.write(f"{error}\n")
        return UNWRITTEN
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
