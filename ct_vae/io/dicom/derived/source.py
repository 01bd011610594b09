"""Search for the DICOM series that a latent was encoded from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ct_vae.errors import InputError, NoInputError
from ct_vae.grid import Grid
from ct_vae.io.archive import extracted, is_archive
from ct_vae.io.dicom.derived.template import SeriesTemplate, read_template
from ct_vae.io.dicom.scan import FoundSeries, scan_files, split_series_path
from ct_vae.io.dicom.volume import check_group
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import reading
from ct_vae.io.walk import walk_files
from ct_vae.latent import SourceRecord
from ct_vae.volume import volume_sha256


class SourceSeries:
    """CT series among which the source of a latent is found by its grid and voxels.

    Args:
        name: Paths that the user gave, for messages.
        series: Readable series.
        options: Options to read them with.
    """

    def __init__(self, name: str, series: Sequence[FoundSeries], options: ReadOptions) -> None:
        self._name = name
        self._series = series
        self._options = options
        # Grid and checksum of the series read so far.
        self._known: dict[FoundSeries, tuple[Grid, str]] = {}

    def template_of(self, source: SourceRecord) -> SeriesTemplate:
        """Return a template for a derived series from the source of a latent.

        Args:
            source: Source in the record of the latent.

        Raises:
            InputError: If none of the series is the source, or if it is damaged.
        """
        grid = source.grid.grid()
        near = [each for each in self._series if self._grid(each) == grid]
        for each in near:
            if self._read(each)[1] == source.sha256:
                return self._template(each, grid)
        kind = "" if source.format == "dicom" else f", which was in {source.format} format"
        if near:
            raise InputError(
                f"{self._name}: has the grid of the source of the latent{kind}, but different "
                "voxels",
                "give the series that was encoded, and --hu-offset if it was encoded with one",
            )
        sides = " x ".join(map(str, grid.shape))
        spacing = " x ".join(f"{mm:.4g}" for mm in grid.spacing_mm)
        raise InputError(
            f"{self._name}: no CT series has the grid of the source of the latent{kind}: {sides} "
            f"at {spacing} mm, the first voxel at {_point(grid)} mm (RAS+)",
            "give the series that was encoded",
        )

    def _grid(self, series: FoundSeries) -> Grid:
        stack = check_group(series.group, self._options)
        return self._read(series)[0] if stack.fault else stack.grid

    def _read(self, series: FoundSeries) -> tuple[Grid, str]:
        if series not in self._known:
            volume = series.read(self._options)
            self._known[series] = volume.grid, volume_sha256(volume)
        return self._known[series]

    def _template(self, series: FoundSeries, grid: Grid) -> SeriesTemplate:
        group = series.group
        stack = check_group(group, self._options)
        images = [group.images[index] for index in stack.order]
        with reading(self._name):
            return read_template(images, grid, resampled=stack.fault is not None)


@contextmanager
def opened_series(paths: Sequence[str | Path], hu_offset: float = 0.0) -> Iterator[SourceSeries]:
    """Find the CT series in folders, files and archives, which stay unpacked within the block.

    All options that permit unusual series are on, since the voxels must equal the encoded ones.

    Args:
        paths: Folders, archives and files, of which all files are searched together;
            ``PATH/#id`` means one of several series.
        hu_offset: HU added to every value when the series was encoded.

    Raises:
        NoInputError: If a path does not exist, or if there is no CT series.
        InputError: If an archive is damaged, or no series can be read.
    """
    options = ReadOptions(
        hu_offset=hu_offset,
        force=True,
        assume_hu=True,
        resample_irregular=True,
        any_sop_class=True,
    )
    name = ", ".join(map(str, paths))
    found: list[FoundSeries] = []
    files: list[Path] = []
    with ExitStack() as stack:
        for path in map(Path, paths):
            with reading(path):
                place, wanted = split_series_path(path)
                if place.is_dir():
                    inside = scan_files(walk_files(place), options)
                elif is_archive(place):
                    folder = stack.enter_context(extracted(place))
                    inside = scan_files(walk_files(folder), options)
                else:
                    files.append(place)
                    continue
            found += [each for each in inside if wanted in ("", each.id)]
        found += scan_files(dict.fromkeys(files), options)
        yield SourceSeries(name, _readable(name, found), options)


def _readable(name: str, found: Sequence[FoundSeries]) -> list[FoundSeries]:
    fit = [each for each in found if each.verdict == "ok" or each.short]
    if fit:
        return fit
    reasons = "; ".join(f"{each.label} was {each.verdict}: {each.reason}" for each in found[:10])
    kind = InputError if any(each.verdict == "refused" for each in found) else NoInputError
    raise kind(f"{name}: has no readable CT series{': ' if reasons else ''}{reasons}")


def _point(grid: Grid) -> str:
    return ", ".join(f"{mm:.2f}" for mm in grid.affine[:3, 3])
