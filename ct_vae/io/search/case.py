"""One input to work on, and what a search has found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ct_vae.io.dicom.scan import FoundSeries
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.search.left_out import LeftOut
from ct_vae.io.volumes import read_volume
from ct_vae.volume import Volume


@dataclass(frozen=True)
class Case:
    """One file to work on.

    Attributes:
        path: Where it is, as it was named or found.
        key: Its path below the folder that was named, with ``/`` and without its suffix; outputs
            that carry it mirror the tree of the inputs. That of a DICOM series is its folder's
            with the number of the series and a hash, such as ``chest/s003_ab12cd34``.
        series: The DICOM series that it is, if it has been found as one; ``path`` names it too.
    """

    path: Path
    key: str
    series: FoundSeries | None = field(default=None, compare=False, repr=False)

    def read(self, options: ReadOptions | None = None) -> Volume:
        """Read the volume, without looking for a series again.

        Raises:
            NoInputError: If it is not there any more.
            InputError: If it is damaged, or refused because its result would be wrong.
        """
        return self.series.read(options) if self.series else read_volume(self.path, options)


class FoundCases(list[Case]):
    """Cases in a fixed order, and everything that was found with them and is not taken.

    Args:
        cases: Cases to process.
        left_out: Files, series and folders that are not among them.
    """

    def __init__(self, cases: Iterable[Case] = (), left_out: Iterable[LeftOut] = ()) -> None:
        super().__init__(cases)
        self.left_out = list(left_out)


@dataclass(frozen=True)
class Findings:
    """Cases of one input, and what is left out."""

    cases: list[Case]
    left_out: list[LeftOut]

    def add(self, other: Findings) -> None:
        """Append what was found elsewhere."""
        self.cases.extend(other.cases)
        self.left_out.extend(other.left_out)

    def below(self, folder: str) -> Findings:
        """The same with keys below a folder."""
        if not folder:
            return self
        cases = [Case(case.path, f"{folder}/{case.key}", case.series) for case in self.cases]
        return Findings(cases, self.left_out)
