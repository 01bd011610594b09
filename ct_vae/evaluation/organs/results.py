"""Comparison of the label maps of originals and reconstructions over all cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from ct_vae.evaluation.metrics.given_masks import GivenMasks
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.organs.agreement import organ_agreements
from ct_vae.evaluation.tables import write_table
from ct_vae.io import ReadOptions


class OrganResults:
    """Table of the organs of all cases, ``organs.csv``.

    Args:
        folder: Output folder.
        given: Paths of the label maps and names of the labels.
        options: Options for reading files.
    """

    def __init__(self, folder: Path, given: GivenMasks, options: ReadOptions) -> None:
        self._path = folder / "organs.csv"
        self._given = given
        self._options = options
        self._lines: list[dict[str, Any]] = []

    def add(self, case: str, key: str, pair: Pair) -> None:
        """Compare the label maps of a case, if they are given, and write the table.

        Args:
            case: Name of the case in the results.
            key: Key of the case, by which its label maps are found.
            pair: Original and reconstruction.

        Raises:
            NoInputError: If a label map is missing.
            InputError: If a label map is damaged or on another grid.
            OutputError: If the table cannot be written.
        """
        labels = self._given.read_label_maps(pair.reference, key, self._options)
        if labels is None:
            return
        volumes = (pair.reference, pair.reconstruction)
        found = organ_agreements(volumes, labels, dict(self._given.names))
        self._lines += [{"case": case, **asdict(organ)} for organ in found]
        write_table(self._lines, self._path)

    def summary(self) -> list[Mapping[str, Any]]:
        """Return the medians over cases of each organ, for ``summary.json``."""
        organs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in self._lines:
            organs[line["organ"]].append(line)
        return [
            {"organ": organ, "cases": len(lines)}
            | {name: _median(lines, name) for name in lines[0] if name not in ("case", "organ")}
            for organ, lines in organs.items()
        ]


def _median(lines: list[dict[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if line[name] is not None]
    return median(values) if values else None
