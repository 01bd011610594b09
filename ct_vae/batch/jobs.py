"""Encoding, decoding and reconstruction of many cases, for commands and bundle workflows."""

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
from ct_vae.find_volumes.cases import Case, FoundCases
from ct_vae.inference.codec import Codec
from ct_vae.inference.device import HOST, memory_budget
from ct_vae.io import ReadOptions, read_latent, write_latent, write_volume
from ct_vae.io.latent.layout import latent_ending
from ct_vae.io.latent.storage import STEPPED, LatentForm
from ct_vae.io.walk import real_path
from ct_vae.latent import Latent
from ct_vae.volume import Volume

Given = TypeVar("Given")
Made = TypeVar("Made")
Keep = Literal["untouched", "verified", "none"]
Targets = Mapping[Case, Path]
# Maps a latent, before it is decoded, to a function that writes its volume to a path.
VolumeWriter = Callable[[Latent], Callable[[Volume, Path], None]]
Decoded = tuple[Volume, Callable[[Volume, Path], None]]


def name_targets(
    cases: Sequence[Case], folder: Path, rename: Callable[[str], str]
) -> dict[Case, Path]:
    """Return the path of the result of each case.

    Args:
        cases: Cases to process.
        folder: Folder of the results.
        rename: Maps the key of a case to the name of its result.

    Raises:
        ConfigError: If two results have the same path, or one has the path of an input.
    """
    inputs = {real_path(case.path) for case in cases}
    targets = {case: folder / rename(case.key) for case in cases}
    owners: dict[Path, Case] = {}
    for case, target in targets.items():
        place = real_path(target)
        if place in inputs:
            raise ConfigError(f"{target}: an input has this name", "choose another folder for -o")
        if place in owners:
            both = f"{owners[place].source} and {case.source}"
            raise ConfigError(f"{target}: would be the result of {both}", "rename one of them")
        owners[place] = case
    return targets


def latent_name(key: str, form: LatentForm | None = None) -> str:
    """Return the name of the latent of a case."""
    form = form or LatentForm()
    return key + latent_ending(form.layout, form.dtype)


def converted_name(key: str, form: LatentForm) -> str:
    """Return the name of a latent that is converted."""
    return latent_name(key.removesuffix("_latent").removesuffix("_emb"), form)


def decoded_name(key: str, ending: str = ".nii.gz") -> str:
    """Return the name of a decoded latent; a folder of slices has no ending."""
    return f"{key.removesuffix('_latent')}_decoded{ending}"


def reconstruction_name(key: str) -> str:
    """Return the name of the reconstruction of a case."""
    return f"{key}_reconstruction.nii.gz"


def do_cases(
    cases: Sequence[Case],
    work: Work[Given, Made],
    stage: str,
    folder: Path,
    report: Callable[[str], None],
    shard: str | None = None,
) -> int:
    """Process the cases of one shard, with reading and writing in parallel to computation.

    Args:
        cases: Cases of all shards; files that the search has left out are summarized.
        work: Processing of a case.
        stage: Name of the stage, for the list of failures.
        folder: Folder of the results.
        report: Called with a line for each case, from any thread.
        shard: Shard as ``i/n``; ``None`` to use the environment.

    Returns:
        Exit code.

    Raises:
        ConfigError: If the shard or the settings are invalid.
        OutputError: If results cannot be written.
        StoppedError: If a signal was received; the current case is finished first.
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
    form: LatentForm | None = None,
    seed: int | None = None,
    keep: Keep = "untouched",
) -> Work[Volume, Latent]:
    """Return the work of encoding volumes.

    Args:
        codec: The model.
        targets: Paths of the latents.
        reading: Options of reading.
        form: Form in which latents are stored; defaults to that of `LatentForm`.
        seed: Seed of a sample of the posterior; ``None`` for the mean.
        keep: Existing latents of the same volume and model to keep: ``untouched`` if size and time
            of the source files or their voxels are the same, ``verified`` if the voxels are the
            same, or ``none``.

    Raises:
        ConfigError: If the layout or the dtype does not support such latents.
    """
    form = form or LatentForm()
    codes = codec.identity.latent_type != "kl"
    form.check(codes, codec.preprocessor.axcodes)
    if codes and form.posterior:
        raise ConfigError("a model with codes has no posterior to store", "leave posterior out")

    kept = KeptLatents(
        targets,
        reading,
        lambda record: form.is_that_of(record) and codec.repeats(record, seed),
        by_content=keep == "verified",
    )

    def make(case: Case, volume: Volume, reserved_bytes: int) -> Latent | Kept:
        codec.reserved_bytes = reserved_bytes
        found = None if keep == "none" else kept.after_reading(case, volume)
        return found or codec.encode(
            volume,
            sample=seed is not None,
            seed=seed,
            posterior=form.posterior,
            response=form.storage in STEPPED,
        )

    def write(case: Case, latent: Latent) -> str:
        run = latent.record.run
        assert run is not None
        run = run.model_copy(update={"source_files": kept.stamp_of(case)})
        stamped = replace(latent, record=latent.record.model_copy(update={"run": run}))
        write_latent(stamped, targets[case], form.storage, form.layout, form.step)
        return f"{targets[case]} ({run.seconds:.1f} s)"

    return Work(
        target=targets.__getitem__,
        read=kept.read,
        make=make,
        write=write,
        read_bytes=lambda case: volume_read_bytes(case, reading),
        # Stored values, and two copies of the file.
        write_bytes=lambda latent: 3 * latent.nbytes,
        room=codec.available_host_bytes,
        kept=None if keep == "none" else kept.before_reading,
    )


def _read_latent(case: Case) -> Latent:
    with case.local_path() as path:
        return read_latent(path)


def converting(targets: Targets, form: LatentForm) -> Work[Latent, Latent]:
    """Convert latents to another form.

    Args:
        targets: Names of the results.
        form: Form of the results; standard deviations are kept where there are any.
    """

    def write(case: Case, latent: Latent) -> str:
        # Codes have one form only.
        dtype = None if latent.record.kind == "codes" else form.storage
        written = write_latent(latent, targets[case], dtype, form.layout, form.step)
        how = written.record.quantisation
        assert how is not None
        return f"{targets[case]} ({how.dtype}, RMSE of the means {how.rmse:.2g})"

    return Work(
        target=targets.__getitem__,
        read=_read_latent,
        make=lambda _, latent, __: latent,
        write=write,
        read_bytes=latent_read_bytes,
        write_bytes=lambda latent: 3 * latent.nbytes,
        room=lambda: memory_budget(HOST, None),
    )


def decoding(
    codec: Codec, targets: Targets, writer: VolumeWriter = lambda _: write_volume
) -> Work[Latent, Decoded]:
    """Return the work of decoding latents to volumes on the grids of their sources.

    Args:
        codec: The model.
        targets: Paths of the volumes.
        writer: Writer of the volumes.
    """

    def make(_: Case, latent: Latent, reserved_bytes: int) -> Decoded:
        codec.reserved_bytes = reserved_bytes
        write = writer(latent)
        return codec.decode(latent, whole_hu=True), write

    def write(case: Case, decoded: Decoded) -> str:
        volume, write = decoded
        write(volume, targets[case])
        return str(targets[case])

    return Work(
        target=targets.__getitem__,
        read=_read_latent,
        make=make,
        write=write,
        read_bytes=latent_read_bytes,
        # A DICOM series is completed in memory before it is written.
        write_bytes=lambda decoded: 2 * decoded[0].voxels.nbytes,
        room=codec.available_host_bytes,
    )


def reconstruction(codec: Codec, targets: Targets, reading: ReadOptions) -> Work[Volume, Volume]:
    """Return the work of encoding and decoding volumes.

    Args:
        codec: The model.
        targets: Paths of the reconstructions.
        reading: Options of reading.
    """

    def make(_: Case, volume: Volume, reserved_bytes: int) -> Volume:
        codec.reserved_bytes = reserved_bytes
        return codec.reconstruct(volume, whole_hu=True)

    def write(case: Case, volume: Volume) -> str:
        write_volume(volume, targets[case])
        return str(targets[case])

    return Work(
        target=targets.__getitem__,
        read=lambda case: case.read(reading),
        make=make,
        write=write,
        read_bytes=lambda case: volume_read_bytes(case, reading),
        # Volumes are written in slabs.
        write_bytes=lambda volume: volume.voxels.nbytes,
        room=codec.available_host_bytes,
    )
