"""``ct-vae decode``: decode latent NIfTI files to CT volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ct_vae.cli import options
from ct_vae.cli.cases import divide_work, output_or_url
from ct_vae.cli.codec_options import CODEC_GROUP, CodecOptions
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress
from ct_vae.progress import report_stage
from ct_vae.terminal import say

if TYPE_CHECKING:
    from ct_vae.batch.jobs import VolumeWriter
    from ct_vae.latent import Latent
    from ct_vae.volume import Volume


@with_progress
@with_groups(CODEC_GROUP)
def decode(  # noqa: PLR0913 - one parameter per option
    model: options.Model,
    latents: options.Latents,
    output: options.OutputOrUrl,
    *,
    codec_options: CodecOptions,
    file_format: options.DecodedFormat = "nifti",
    like: options.Like = None,
    keep_identity: options.KeepIdentity = False,
    hu_offset: options.HuOffset = 0.0,
    overwrite: options.Overwrite = False,
    shard: options.Shard = None,
    split: options.Split = "cases",
    fallback: options.Fallback = None,
) -> None:
    """Decode latents to CT volumes in HU on the original grid.

    Decoded volumes are not for diagnosis. With --format dicom, each volume is written as a folder
    with a DICOM series derived from its source series, which --like must include. Existing DICOM
    folders are replaced only with --overwrite; existing files are always replaced.

    torchrun can divide each volume among several processes: --split volume.

    Example: ct-vae decode ct-f4 latents -o decoded
    """
    from ct_vae.batch.jobs import decoded_name, decoding, do_cases, name_targets
    from ct_vae.batch.remote_output import opened_output
    from ct_vae.errors import ConfigError
    from ct_vae.find_volumes.cases import discover

    _check_options(file_format, like, keep_identity, hu_offset)
    ending = "" if file_format == "dicom" else ".nii.gz"
    options.refuse_idle_fallback(codec_options.device, fallback)
    place = output_or_url(output)
    if file_format == "dicom" and not isinstance(place, Path):
        raise ConfigError(
            "--format dicom writes folders, which cannot be at a URL", "give a local folder with -o"
        )
    report_stage("searching for latents")
    cases = discover(latents, latents=True, report=say)
    with opened_output(place) as folder:
        targets = name_targets(cases, folder.local, lambda key: decoded_name(key, ending))
        folder.check_inputs(cases, targets.values())
        if like:
            _check_targets(targets.values(), like, overwrite)
        with _writer(like, hu_offset, keep_identity, overwrite) as writer:
            codec = codec_options.load(model, fallback)
            staged, report = folder.staged(decoding(codec, targets, writer)), folder.with_urls(say)
            run = partial(do_cases, cases, staged, "decode", folder.local, report)
            code = divide_work(codec, split, shard, run)
    raise typer.Exit(code)


def _check_options(
    file_format: str, like: Sequence[str] | None, keep_identity: bool, hu_offset: float
) -> None:
    from ct_vae.errors import ConfigError

    if file_format == "dicom" and not like:
        raise ConfigError("--format dicom needs the source series", "give it with --like")
    if file_format != "dicom" and (like or keep_identity or hu_offset):
        raise ConfigError(
            "--like, --keep-identity and --hu-offset are for DICOM", "add --format dicom"
        )


def _check_targets(targets: Iterable[Path], like: Sequence[str], overwrite: bool) -> None:
    """Raise an error, before any work, if a result exists already or would replace a source."""
    from ct_vae.errors import ConfigError
    from ct_vae.io.dicom.derived.write import check_target
    from ct_vae.io.walk import real_path

    sources = [real_path(each) for each in like]
    for target in targets:
        if any(source.is_relative_to(real_path(target)) for source in sources):
            raise ConfigError(f"{target}: --like has this name", "choose another folder for -o")
        check_target(target, overwrite)


def _writer(
    like: Sequence[str] | None, hu_offset: float, keep_identity: bool, overwrite: bool
) -> AbstractContextManager[VolumeWriter]:
    from ct_vae.io import write_volume

    if not like:
        return nullcontext(lambda _: write_volume)
    return _dicom_writer(like, hu_offset, keep_identity, overwrite)


@contextmanager
def _dicom_writer(
    like: Sequence[str], hu_offset: float, keep_identity: bool, overwrite: bool
) -> Iterator[VolumeWriter]:
    from ct_vae.io.dicom.derived.elements import Derivation
    from ct_vae.io.dicom.derived.source import opened_series
    from ct_vae.io.dicom.derived.write import write_dicom

    with opened_series(like, hu_offset) as series:

        def writer(latent: Latent) -> Callable[[Volume, Path], None]:
            """Find the source series of a latent and return the function that writes its volume."""
            template = series.template_of(latent.record.source)

            def write(volume: Volume, target: Path) -> None:
                write_dicom(
                    volume,
                    template,
                    target,
                    Derivation.of(latent, volume),
                    keep_identity=keep_identity,
                    overwrite=overwrite,
                )

            return write

        yield writer
