"""A feature map as a stream, and reading of streams in slabs of any size."""

import torch

from ct_vae.inference.streaming.streams import InputStream

CHANNELS, Y, Z = 3, 4, 5


def feature_map(length=11, dtype=torch.float64):
    generator = torch.Generator().manual_seed(length)
    return torch.randn(1, CHANNELS, length, Y, Z, generator=generator, dtype=dtype)


def stream_of(x):
    return InputStream(x, x.device, 0, x.shape[2])


def read_all(stream, cuts):
    """Read a stream up to each cut and to its end, in turn by its three ways of reading."""
    length = stream.shape[1]
    stops = sorted({min(cut, length) for cut in cuts} | {length})
    parts, start = [], 0
    for number, stop in enumerate(stops):
        count = stop - start
        if not count:
            continue
        if number % 3 == 0:
            parts.append(stream.read(count).clone())
        elif number % 3 == 1:
            parts.append(stream.view(count).clone())
        else:
            parts.append(stream.empty(count))
            stream.read_into(parts[-1])
        start = stop
    return torch.cat(parts, dim=2)
