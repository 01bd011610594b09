"""What is done with many cases, for the commands and for the workflows of bundles alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

from ct_vae.batch.failures import FailureList
from ct_vae.batch.kept_latents import KeptLatents
from ct_vae.batch.memory_need import latent_read_bytes, volume_read_bytes
from ct_vae.batch.pipeline import Kept, Pipeline, Work
from ct_vae.batch.shard import choose_shard
from ct_vae.batch.signals import StopRequest
from ct_vae.batch.summary import add_unread, summary_lines
from ct_vae.errors import ConfigError
from ct_vae.inference.codec import Codec
from ct_vae.io import ReadOptions, read_latent, write_latent, write_volume
from ct_vae.io.latent.file import LatentDtype, default_dtype
from ct_vae.io.latent.layout import check_layout, latent_ending
from ct_vae.io.search.cases import Case, FoundCases
from ct_vae.io.walk import real_path
from ct_vae.latent import Latent, LatentRecord, Layout
from ct_vae.volume import Volume

Given = TypeVar("Given")
Made = TypeVar("Made")
Keep = Literal["untouched", "verified", "none"]
Targets = Mapping[Case, Path]
# From a latent, before it is decoded, to what writes its volume under a name.
VolumeWriter = Callable[[Latent], Callable[[Volume, Path], None]]
Decoded = tuple[Volume, Callable[[Volume, Path], None]]


def name_targets(
    cases: Sequence[Case], folder: Path, rename: Callable[[str], str]
) -> dict[Case, Path]:
    """Where the result of each case goes, settled before any work.

    Args:
        cases: What will be done.
        folder: For the results.
        rename: From a case's key to the name of its result.

    Raises:
        ConfigError: If two results would have one name, or one the name of an input.
    """
    inputs = {real_path(case.path) for case in cases}
    targets = {case: folder / rename(case.key) for case in cases}
    owners: dict[Path, Case] = {}
    for case, target in targets.items():
        place = real_path(target)
        if place in inputs:
            raise ConfigError(f"{target}: an input has this name", "choose another folder for -o")
        if place in owners:
            both = f"{owners[place].path} and {case.path}"
            raise ConfigError(f"{target}: would be the result of {both}", "rename one of them")
        owners[place] = case
    return targets


def latent_name(key: str, layout: Layout = "plain") -> str:
    """Name of the latent of a case."""
    return key + latent_ending(layout)


def decoded_name(key: str, ending: str = ".nii.gz") -> str:
    """Name of what a latent is decoded to; a folder of slices has no ending."""
    return f"{key.removesuffix('_latent')}_decoded{ending}"


def reconstruction_name(key: str) -> str:
    """Name of the reconstruction of a case."""
    return f"{key}_reconstruction.nii.gz"


def do_cases(
    cases: Sequence[Case],
    work: Work[Given, Made],
    stage: str,
    folder: Path,
    report: Callable[[str], None],
    shard: str | None = None,
) -> int:
    """Do the cases of one shard, reading and writing while others are computed.

    Args:
        cases: Of all shards; what a search has left out with them is summed up.
        work: What is done with each.
        stage: Name of the work, for the list of failures.
        folder: Where results go.
        report: Takes a line about each case, from any thread.
        shard: As ``i/n``; ``None`` asks the environment.

    Returns:
        Exit code.

    Raises:
        ConfigError: If there is no such shard, or settings do not work.
        OutputError: If results cannot be written.
        StoppedError: If a signal came; the case that was begun is finished and written.
    """
    part = choose_shard(shard, os.environ)
    mine = list(cases)
    if part.count > 1:
        mine = part.of(cases)
        report(f"shard {part}: {len(mine)} of {len(cases)} cases")
    with StopRequest() as stop:
        failures = FailureList(folder, stage, part)
        left_out = cases.left_out if isinstance(cases, FoundCases) and not part.index else []
        add_unread(failures, left_out)
        pipeline = Pipeline(work, failures, report, lambda: stop.name)
        code = pipeline.run(mine)
    for line in summary_lines(stage, pipeline.counts, failures, left_out):
        report(line)
    return code


def encoding(
    codec: Codec,
    targets: Targets,
    reading: ReadOptions,
    *,
    dtype: LatentDtype | None = None,
    layout: Layout = "plain",
    seed: int | None = None,
    keep: Keep = "untouched",
) -> Work[Volume, Latent]:
    """Volumes to latents with records.

    Args:
        codec: The model.
        targets: Names of the latents.
        reading: How volumes are read.
        dtype: How latents are stored; ``None`` takes that of the layout.
        layout: Of the files.
        seed: Draws from the posterior with it; ``None`` takes the mean.
        keep: Which latents of the same volume and model are not made anew: where the files of the
            source are ``untouched`` by size and time or have the same voxels, where the voxels are
            ``verified`` to be the same in any case, or ``none``.

    Raises:
        ConfigError: If the layout or the dtype cannot hold such latents.
    """
    stored_as = dtype or default_dtype(layout)
    codes = codec.identity.latent_type != "kl"
    if codes and dtype is not None:
        raise ConfigError(
            f"dtype {dtype} is about continuous latents, and this model makes codes, which are "
            "stored as integers of the size that they need",
            "leave it out",
        )
    check_layout(layout, stored_as, codes, codec.preprocessor.axcodes)

    kept = KeptLatents(
        targets,
        reading,
        lambda record: _repeats(codec, record, seed, (stored_as, layout)),
        by_content=keep == "verified",
    )

    def make(case: Case, volume: Volume, beside: int) -> Latent | Kept:
        codec.reserved_bytes = beside
        found = None if keep == "none" else kept.after_reading(case, volume)
        return found or codec.encode(volume, sample=seed is not None, seed=seed)

    def write(case: Case, latent: Latent) -> str:
        run = latent.record.run
        assert run is not None
        run = run.model_copy(update={"source_files": kept.stamp_of(case)})
        stamped = replace(latent, record=latent.record.model_copy(update={"run": run}))
        write_latent(stamped, targets[case], stored_as, layout)
        return f"{targets[case]} ({run.seconds:.1f} s)"

    return Work(
        target=targets.__getitem__,
        read=kept.read,
        make=make,
        write=write,
        read_bytes=lambda case: volume_read_bytes(case, reading),
        # Stored values, and the file twice on its way to the disk.
        write_bytes=lambda latent: 3 * latent.array.nbytes,
        room=codec.available_host_bytes,
        kept=None if keep == "none" else kept.before_reading,
    )


def decoding(
    codec: Codec, targets: Targets, writer: VolumeWriter = lambda _: write_volume
) -> Work[Latent, Decoded]:
    """Latents to volumes on the grids of their sources.

    Args:
        codec: The model.
        targets: Names of the volumes.
        writer: Of volumes.
    """

    def make(_: Case, latent: Latent, beside: int) -> Decoded:
        codec.reserved_bytes = beside
        write = writer(latent)
        return codec.decode(latent), write

    def write(case: Case, decoded: Decoded) -> str:
        volume, write = decoded
        write(volume, targets[case])
        return str(targets[case])

    return Work(
        target=targets.__getitem__,
        read=lambda case: read_latent(case.path),
        make=make,
        write=write,
        read_bytes=latent_read_bytes,
        # Stored values of the whole: a DICOM series is put together before it is written.
        write_bytes=lambda decoded: decoded[0].voxels.nbytes,
        room=codec.available_host_bytes,
    )


def reconstruction(codec: Codec, targets: Targets, reading: ReadOptions) -> Work[Volume, Volume]:
    """Volumes through the model and back.

    Args:
        codec: The model.
        targets: Names of the reconstructions.
        reading: How volumes are read.
    """

    def make(_: Case, volume: Volume, beside: int) -> Volume:
        codec.reserved_bytes = beside
        return codec.reconstruct(volume)

    def write(case: Case, volume: Volume) -> str:
        write_volume(volume, targets[case])
        return str(targets[case])

    return Work(
        target=targets.__getitem__,
        read=lambda case: case.read(reading),
        make=make,
        write=write,
        read_bytes=lambda case: volume_read_bytes(case, reading),
        # Written slab by slab.
        write_bytes=lambda volume: volume.voxels.nbytes // 2,
        room=codec.available_host_bytes,
    )


def _repeats(
    codec: Codec, record: LatentRecord, seed: int | None, stored: tuple[LatentDtype, Layout]
) -> bool:
    """Whether encoding would give a latent with this record, of the same source, again."""
    # Codes are stored as their range demands.
    dtype = record.quantisation.dtype if record.quantisation else None
    same = record.kind == "codes" or dtype == stored[0]
    return same and record.layout == stored[1] and codec.repeats(record, seed)
