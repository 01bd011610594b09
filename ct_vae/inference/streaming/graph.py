"""Tracing of a module into a list of operators with bounded receptive fields."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.conv import padded_convolution
from ct_vae.blocks.receptive_field import (
    ChainModule,
    LocalModule,
    Operator,
    PerVoxel,
    ReceptiveField,
)

Map = torch.Tensor
MapShape = tuple[int, int, int, int]


class _Function(PerVoxel):
    """Function of single voxels as a module."""

    def __init__(self, function: Callable[..., Map]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *maps: Map) -> Map:
        return self.function(*maps)


class _Convolution(LocalModule):
    """PyTorch convolution with its receptive field along the first axis."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Map) -> Map:
        result: Map = self.conv(x)
        return result

    def receptive_field(self) -> ReceptiveField:
        low, stride = int(self.conv.padding[0]), self.conv.stride[0]
        mode: Any = self.conv.padding_mode
        return ReceptiveField(self.conv.kernel_size[0], stride, low, low, mode)

    def unpadded_operator(self) -> Operator:
        around = [int(n) for n in self.conv.padding[1:]]
        mode: Any = self.conv.padding_mode
        return padded_convolution(self.conv, around, around, mode)


_PER_VOXEL: dict[Any, Callable[..., Map]] = {
    nn.SiLU: functional.silu,
    nn.Tanh: torch.tanh,
    nn.Sigmoid: torch.sigmoid,
    functional.silu: functional.silu,
    torch.tanh: torch.tanh,
    torch.sigmoid: torch.sigmoid,
    operator.add: torch.add,
}
_NOTHING = (nn.Identity, nn.Dropout)
_BARRIERS = (nn.GroupNorm, SpatialSelfAttention)


@dataclass(frozen=True, eq=False)
class Step:
    """One operator of a traced module.

    Attributes:
        module: Operator; ``None`` for the input of the traced module.
        sources: Indices of the steps whose results it takes.
        shape: Shape ``(C, X, Y, Z)`` of its result.
        dtype: Data type of its result.
    """

    module: nn.Module | None
    sources: tuple[int, ...]
    shape: MapShape
    dtype: torch.dtype

    @property
    def slice_bytes(self) -> int:
        """Size of one slice of the result in bytes."""
        channels, _, y, z = self.shape
        return channels * y * z * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        """Size of the result in bytes."""
        return self.slice_bytes * self.shape[1]

    @property
    def needs_whole(self) -> bool:
        """True if the operator needs its complete first source before it can return anything."""
        if isinstance(self.module, LocalModule):
            field = self.module.receptive_field()
            return field.mode == "circular" and field.low + field.high > 0
        return self.module is not None


def trace_operators(module: nn.Module, shape: MapShape, dtype: torch.dtype) -> list[Step]:
    """Trace the operators that ``module`` applies to a map ``(C, X, Y, Z)``.

    Returns:
        Operators in order; the last one computes the module's result.

    Raises:
        InputError: If the shape is invalid for a part of the module.
        TypeError: If the module calls a function without a known receptive field.
    """
    tracer = _Tracer()
    graph = tracer.trace(module)
    steps = [Step(None, (), shape, dtype)]
    positions: dict[fx.Node, int] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            positions[node] = 0
        elif node.op == "output":
            return _until(steps, positions[node.args[0]])
        elif node.op in ("call_module", "call_function"):
            part = tracer.parts[node.target] if node.op == "call_module" else _function(node)
            sources = tuple(positions[source] for source in node.all_input_nodes)
            if isinstance(part, _NOTHING):
                positions[node] = sources[0]
                continue
            steps.append(_step(part, sources, steps))
            positions[node] = len(steps) - 1
    raise AssertionError("a graph has an output")


def _until(steps: list[Step], last: int) -> list[Step]:
    assert last == len(steps) - 1, "a module ends with what it computes last"
    return steps


def _step(part: nn.Module, sources: tuple[int, ...], steps: Sequence[Step]) -> Step:
    first = steps[sources[0]]
    if isinstance(part, _BARRIERS):
        return Step(part, sources, first.shape, first.dtype)
    # An empty batch checks shapes and infers the result's shape without computing anything. So do
    # meta tensors, but torch imports its compiler for them, which takes a second.
    device = next((value.device for value in part.state_dict().values()), torch.device("cpu"))
    inputs = (torch.empty(0, *steps[i].shape, dtype=steps[i].dtype, device=device) for i in sources)
    # The meta device has no autocast.
    plain: AbstractContextManager[object] = (
        nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
    )
    with torch.no_grad(), plain:
        result: Map = part(*inputs)
    channels, x, y, z = result.shape[1:]
    return Step(part, sources, (channels, x, y, z), result.dtype)


def _function(node: fx.Node) -> nn.Module:
    known = _PER_VOXEL.get(node.target)
    if known is None:
        raise TypeError(f"{node.target} has no known receptive field along the first axis")
    return _Function(known)


class _Tracer(fx.Tracer):
    """Tracer that follows ``forward`` down to modules with a known receptive field."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[Any, nn.Module] = {}

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Add a known module to the graph; trace into any other."""
        if isinstance(m, ChainModule):
            (x,) = args
            for part in m.parts():
                x = self.call_module(part, part.forward, (x,), {})
            return x
        known = _known(m)
        if known is None:
            return forward(*args, **kwargs)
        name = f"part_{len(self.parts)}"
        self.parts[name] = known
        return self.create_proxy("call_module", name, args, kwargs)


def _known(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.Conv3d):
        return _Convolution(module)
    if type(module) in _PER_VOXEL:
        return _Function(_PER_VOXEL[type(module)])
    if isinstance(module, (LocalModule, *_BARRIERS, *_NOTHING)):
        return module
    return None
