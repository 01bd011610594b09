"""``ct-vae scan``: list the volumes in folders and archives, and write a datalist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ct_vae.cli import options
from ct_vae.cli.option_groups import with_groups
from ct_vae.cli.progress import with_progress
from ct_vae.progress import report_fraction, report_stage
from ct_vae.terminal import say, show_json, without_bars

if TYPE_CHECKING:
    from ct_vae.datasets.sources.patient_split import CaseAssignment, Shares
    from ct_vae.datasets.sources.write_datalist import Entry
    from ct_vae.find_volumes.inventory import Row
    from ct_vae.io import ReadOptions


# Patients of a group that a warning names.
_SHOWN = 5
_FILES_PER_REPORT = 1000
# Seeds that are tried to give advice on a split with an empty list.
_SEEDS_TRIED = 200


@with_progress
@with_groups(options.READING_GROUP)
def scan(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Folders (searched recursively), volumes, DICOM files or archives.",
            metavar="PATH",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Datalist (.json) to write, split by patient."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    val_share: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of patients for validation.")
    ] = 0.1,
    test_share: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of patients for testing.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the split.")] = 0,
    patient: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX", help="Extract the patient from the path: first group, or match."
        ),
    ] = None,
    *,
    reading: ReadOptions,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing datalist.")
    ] = False,
) -> None:
    """List all volumes with size, spacing, HU percentiles and whether they can be used.

    With -o, usable volumes are written to a MONAI datalist; duplicates are listed once.

    Volumes are split by patient. The split of a patient depends only on the patient and the seed,
    so it does not change when volumes are added. The patient of a DICOM series is its PatientID, or
    else its study; the patient of a file is the top folder below PATH, or else the file name up to
    the first number.

    Example: ct-vae scan /archive -o datalist.json --val-share 0.1
    """
    from ct_vae.cli.inventory_table import show_rows
    from ct_vae.datasets.sources.patient_split import Shares
    from ct_vae.datasets.sources.write_datalist import check_target, write_datalist
    from ct_vae.errors import NoInputError
    from ct_vae.find_volumes.left_out import by_suffix

    shares, pattern = Shares(val_share, test_share, seed), _pattern(patient)
    if output:
        check_target(output, overwrite)
    else:
        options.refuse_idle(ctx, ("overwrite",), "no datalist is written", "give one with -o")
    rows, others = _take_stock(paths, reading, pattern)
    if not rows:
        raise NoInputError(f"{', '.join(map(str, paths))}: no volumes or DICOM series found")
    places = _places(rows, shares)
    if as_json:
        show_json(_document(rows, places, len(others)))
    else:
        with without_bars():
            show_rows(rows, places, len(others), paths, suffixes=by_suffix(others))
    _warn(rows, places, shares)
    if output:
        entries = _entries(rows, places)
        if not entries:
            raise NoInputError(
                "no volume can be used for a datalist", "the reasons are given above"
            )
        write_datalist(output, entries, shares, reading)
        say(f"{output}: {len(entries)} volumes")


def _pattern(patient: str | None) -> re.Pattern[str] | None:
    from ct_vae.errors import ConfigError

    try:
        return None if patient is None else re.compile(patient)
    except re.error as error:
        raise ConfigError(f"--patient {patient!r} is not a regular expression: {error}") from error


def _take_stock(
    paths: Sequence[Path], reading: ReadOptions, pattern: re.Pattern[str] | None
) -> tuple[list[Row], Sequence[Path]]:
    """Return all rows and the other files."""
    from ct_vae.find_volumes.inventory import inspect
    from ct_vae.find_volumes.items import find_items

    rows: list[Row] = []
    report_stage("searching for volumes")
    found = find_items(paths, reading, _report_search)
    report_stage("reading", len(found.items), "volumes")
    for number, item in enumerate(found.items, start=1):
        rows.extend(inspect(item, reading, pattern))
        report_fraction(number / len(found.items))
    return rows, found.others


def _report_search(files: int) -> None:
    if files % _FILES_PER_REPORT == 0:
        report_stage(f"searching for volumes, {files} files seen")


def _places(rows: Sequence[Row], shares: Shares) -> list[CaseAssignment | None]:
    """Return the split of each usable row with a known patient."""
    from dataclasses import replace

    from ct_vae.datasets.sources.patient_split import place_cases

    indices = [index for index, row in enumerate(rows) if row.patient]
    places: list[CaseAssignment | None] = [None] * len(rows)
    cases = [(rows[index].patient, rows[index].content) for index in indices]
    for index, place in zip(indices, place_cases(cases, shares), strict=True):
        same_as = None if place.same_as is None else indices[place.same_as]
        places[index] = replace(place, same_as=same_as)
    return places


def _entries(rows: Sequence[Row], places: Sequence[CaseAssignment | None]) -> list[Entry]:
    from ct_vae.datasets.sources.write_datalist import Entry

    return [
        Entry(row.path, place.list_name, place.patient)
        for row, place in zip(rows, places, strict=True)
        if place and place.same_as is None
    ]


def _document(
    rows: Sequence[Row], places: Sequence[CaseAssignment | None], other_files: int
) -> dict[str, Any]:
    return {
        "rows": [_facts(row, place, rows) for row, place in zip(rows, places, strict=True)],
        "other_files": other_files,
    }


def _facts(row: Row, place: CaseAssignment | None, rows: Sequence[Row]) -> dict[str, Any]:
    from ct_vae.find_volumes.inventory import PERCENTS

    facts = asdict(row)
    del facts["patient"], facts["content"], facts["hu"]
    double = None if place is None else place.same_as
    return {
        **facts,
        "hu_percentiles": row.hu and dict(zip(map(str, PERCENTS), row.hu, strict=True)),
        "sha256": row.content or None,
        "patient": place and place.patient,
        "same_as": None if double is None else rows[double].path,
        "list": place.list_name if place and double is None else None,
    }


def _warn(rows: Sequence[Row], places: Sequence[CaseAssignment | None], shares: Shares) -> None:
    """Print warnings about the split on standard error."""
    for line in _shared_lists(rows, places):
        say(line)
    listed = {place.list_name: place.patient for place in places if place}
    wanted = {"training": 1.0, "validation": shares.val, "test": shares.test}
    empty = [name for name, share in wanted.items() if share and name not in listed]
    if listed and empty:
        patients = len({place.patient for place in places if place})
        seed = _seed_without_empty_lists([row for row in rows if row.patient], shares)
        advice = "use larger shares" if seed is None else f"--seed {seed} fills all lists"
        say(
            f"warning: none of {patients} patients is in {' or '.join(empty)}; {advice}, or use "
            "--patient if different patients are counted as one"
        )


def _seed_without_empty_lists(rows: Sequence[Row], shares: Shares) -> int | None:
    """Return the smallest seed that puts patients into all lists, if one of the first has it."""
    from dataclasses import replace

    from ct_vae.datasets.sources.patient_split import place_cases

    cases = [(row.patient, row.content) for row in rows]
    wanted = 1 + (shares.val > 0) + (shares.test > 0)
    for seed in range(_SEEDS_TRIED):
        places = place_cases(cases, replace(shares, seed=seed))
        if len({place.list_name for place in places}) == wanted:
            return seed
    return None


def _shared_lists(rows: Sequence[Row], places: Sequence[CaseAssignment | None]) -> Iterator[str]:
    """Yield a warning for each group of patients that share a volume and therefore a split."""
    from ct_vae.datasets.sources.patient_split import linked_patients

    placed = [(row, place) for row, place in zip(rows, places, strict=True) if place]
    numbers = {row.patient: place.patient for row, place in placed}
    for group in linked_patients((row.patient, row.content) for row, _ in placed):
        copy = next(r for r, p in placed if r.patient in group and p.same_as is not None)
        yield (
            f"warning: patients {_enumerate(sorted(numbers[each] for each in group))} are in the "
            f"same list, because they share a volume, such as {copy.path}"
        )


def _enumerate(numbers: Sequence[int]) -> str:
    """Format the first numbers of a list and the count of the others."""
    shown = [str(number) for number in numbers[:_SHOWN]]
    if len(numbers) > _SHOWN:
        shown.append(f"{len(numbers) - _SHOWN} more")
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
