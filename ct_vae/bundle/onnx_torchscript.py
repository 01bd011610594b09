"""Export to ONNX, TorchScript and ``torch.export``, and comparison with the model."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ct_vae.bundle.network import AutoencoderPart, DecoderNet, EncoderNet, portable, traced
from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.io.atomic.file import atomic_write
from ct_vae.io.temporary import make_temporary_folder

Format = Literal["torchscript", "onnx", "export"]
ENDINGS = {"torchscript": ".ts", "onnx": ".onnx", "export": ".pt2"}
MOST_HU = 0.1
_MOST_BLOCKS = 4096
# Latent voxels per axis of the compared inputs: odd and even, long and short.
_SIZES = ((2, 3, 4), (5, 4, 3))
_AXES = "xyz"
# What torch's exporters say of torch, which no caller can change: TorchScript is deprecated and
# still what many deployments take.
_EXPORTERS_OWN: tuple[tuple[type[Warning], str], ...] = (
    (DeprecationWarning, r"`torch\.jit\."),
    (FutureWarning, r"`isinstance\(treespec"),
    (UserWarning, "Attempted to insert a get_attr Node"),
)


@dataclass(frozen=True)
class Parity:
    """Difference between an exported network and the model.

    Attributes:
        format: Format of the export.
        sides: Sizes of the compared inputs.
        largest_hu: Maximum absolute difference in HU per input; latents are decoded first.
    """

    format: str
    sides: tuple[tuple[int, ...], ...]
    largest_hu: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the differences for JSON."""
        return asdict(self)


def export(part: AutoencoderPart, path: Path, form: Format) -> Parity:
    """Export a part of a model, and compare the exported network with the model.

    Args:
        part: Network on the CPU. Input sizes of the export may be any multiples of the factor.
        path: Output file; an older export is replaced.
        form: Format of the export.

    Raises:
        ConfigError: If the format is unknown, its packages are not installed, or ``path`` exists
            and does not have the suffix of an export.
        CtVaeError: If results differ by more than 0.1 HU; then nothing is written.
        OutputError: If the file cannot be written.
    """
    if form not in ENDINGS:
        raise ConfigError(f"a format is {', '.join(ENDINGS)}, got {form!r}")
    # Unlike `Path.exists`, this raises nothing for long names or unreadable folders.
    if os.path.lexists(path) and path.suffix not in ENDINGS.values():
        endings = ", ".join(ENDINGS.values())
        raise ConfigError(
            f"{path} exists and does not look like an export",
            f"remove it, or choose a name that ends in {endings}",
        )
    content = _WRITERS[form](part)
    parity = _compare(part, content, form)
    if not max(parity.largest_hu) <= MOST_HU:
        raise CtVaeError(
            f"the {form} network differs by {max(parity.largest_hu):.3g} HU from the "
            f"model, more than {MOST_HU}",
            "choose another format",
        )
    with atomic_write(path) as file:
        file.write(content)
    return parity


@contextmanager
def _exporters_own_aside() -> Iterator[None]:
    with warnings.catch_warnings():
        for category, message in _EXPORTERS_OWN:
            warnings.filterwarnings("ignore", message, category)
        yield


def _compare(part: AutoencoderPart, content: bytes, form: Format) -> Parity:
    run = _READERS[form](content)
    sides, largest = [], []
    for size in _SIZES:
        image = part.example(size[: part.model.spatial_dims])
        with torch.no_grad():
            difference = _hu(part, run(image)) - _hu(part, part(image))
        sides.append(tuple(image.shape[2:]))
        largest.append(difference.abs().max().item())
    return Parity(form, tuple(sides), tuple(largest))


def _hu(part: AutoencoderPart, output: torch.Tensor) -> torch.Tensor:
    """Convert an output to HU; latents are decoded by the model."""
    image = part.image(output) if isinstance(part, EncoderNet) else output
    return image * part.hu_per_unit


def _torchscript(part: AutoencoderPart) -> bytes:
    buffer = io.BytesIO()
    with _exporters_own_aside():
        torch.jit.save(traced(part), buffer)
    return buffer.getvalue()


def _program(part: AutoencoderPart) -> torch.export.ExportedProgram:
    plain = portable(part)
    example = plain.example((4, 2, 5)[: part.model.spatial_dims])
    ones = (1,) * part.model.spatial_dims
    factor = ones if isinstance(part, DecoderNet) else part.model.factor
    sides: dict[int, Any] = {}
    for axis in range(part.model.spatial_dims):
        free = torch.export.Dim(_AXES[axis], min=2, max=_MOST_BLOCKS)
        sides[2 + axis] = free if factor[axis] == 1 else factor[axis] * free
    with _exporters_own_aside(), torch.no_grad():
        return torch.export.export(plain, (example,), dynamic_shapes=(sides,))


def _exported(part: AutoencoderPart) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(_program(part), buffer)
    return buffer.getvalue()


def _onnx(part: AutoencoderPart) -> bytes:
    _need_onnx()
    with make_temporary_folder() as folder, _exporters_own_aside():
        made = torch.onnx.export(_program(part), dynamo=True, verbose=False)
        assert made is not None
        file = Path(folder) / "network.onnx"
        made.save(file, external_data=False)
        return file.read_bytes()


def _need_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # type: ignore[import-untyped]  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs the package {error.name}", "pip install 'ct_vae[bundle]'"
        ) from error


def _run_torchscript(content: bytes) -> Callable[[torch.Tensor], torch.Tensor]:
    with _exporters_own_aside():
        loaded: Callable[[torch.Tensor], torch.Tensor] = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(content)
        )
    return loaded


def _run_exported(content: bytes) -> Callable[[torch.Tensor], torch.Tensor]:
    return torch.export.load(io.BytesIO(content)).module()


def _run_onnx(content: bytes) -> Callable[[torch.Tensor], torch.Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


_WRITERS: dict[str, Callable[[AutoencoderPart], bytes]] = {
    "torchscript": _torchscript,
    "onnx": _onnx,
    "export": _exported,
}
_READERS: dict[str, Callable[[bytes], Callable[[torch.Tensor], torch.Tensor]]] = {
    "torchscript": _run_torchscript,
    "onnx": _run_onnx,
    "export": _run_exported,
}
