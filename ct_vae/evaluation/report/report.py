"""Writing of the HTML report."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ct_vae.evaluation.metrics.metric_rows import MetricRow, check_same_grid
from ct_vae.evaluation.rate_distortion.summary import CaseCurves
from ct_vae.evaluation.report.case import ReportCase
from ct_vae.evaluation.report.page import Findings, Shown, page
from ct_vae.evaluation.report.payload import payload_of, ras_pair
from ct_vae.evaluation.report.pictures import picture
from ct_vae.evaluation.report.plots import case_plots
from ct_vae.io.atomic.file import atomic_write

# Limits that keep reports of many cases small enough for browsers.
_VIEWER_BYTES = 60_000_000
_VIEWER_BYTES_FULL = 450_000_000
_VIEWERS = 40
_PICTURES = 200


@dataclass(eq=False)
class _Kept:
    shown: Shown
    spool: IO[bytes] | None
    size: int


class HtmlReport:
    """Self-contained HTML report about a model or a set of reconstructions.

    Cases are sorted by their error in the mask in the full range, worst first. The worst cases are
    in the viewer, the next ones have an image, and all are in the tables.

    Args:
        path: Output file.
        full: True to include all voxels, as far as browsers support it.
        model: Name of the model; must not be a path.
    """

    def __init__(self, path: Path, *, full: bool = False, model: str = "") -> None:
        self._path = path
        self._full = full
        self._model = model
        self._kept: list[_Kept] = []

    def add_case(self, case: ReportCase) -> None:
        """Add a case; its volumes are not kept in memory.

        Raises:
            InputError: If grids differ or a value is not finite.
        """
        check_same_grid(case.original, case.reconstruction)
        pair = ras_pair(case)
        description, texts = payload_of(pair, full=self._full)
        found = pair.found
        shown = Shown(
            name=case.name,
            rmse=found.rmse,
            worst_hu=found.worst_hu,
            where=case.where,
            rows=case.rows,
            notes=case.notes,
            description=description | {"sizes": [len(text) for text in texts]},
            picture=picture(pair),
            plots=case_plots(found, case),
        )
        spool = tempfile.TemporaryFile(prefix="ct_vae_report_")  # noqa: SIM115 - lives until the page is written
        weakref.finalize(self, spool.close)
        spool.writelines(texts)
        self._kept.append(_Kept(shown, spool, sum(map(len, texts))))
        self._keep_worst()

    def write(
        self,
        rows: Sequence[MetricRow],
        summary: dict[str, Any],
        protocol: dict[str, Any],
        probe: dict[str, Any] | None = None,
        curves: Sequence[CaseCurves] = (),
    ) -> None:
        """Write the report atomically.

        Args:
            rows: Rows of all cases.
            summary: Result of `tables.summarize`.
            protocol: Settings and versions.
            probe: Results of the phantom probe.
            curves: Rate-distortion curves of the cases.

        Raises:
            OutputError: If the file cannot be written.
        """
        shown = [kept.shown for kept in self._kept]
        before, after = page(
            shown,
            Findings(rows, summary, protocol, probe, curves),
            model=self._model,
            full=self._full,
        )
        with atomic_write(self._path) as file:
            file.write(before)
            for place, kept in enumerate(self._kept):
                if kept.spool is not None:
                    _copy_texts(file, place, kept)
            file.write(after)

    def _keep_worst(self) -> None:
        self._kept.sort(key=lambda kept: -kept.shown.rmse)
        room = _VIEWER_BYTES_FULL if self._full else _VIEWER_BYTES
        for place, kept in enumerate(self._kept):
            room -= kept.size
            # The worst case is always in the viewer. A case that does not fit now never fits later.
            if place and (room < 0 or place >= _VIEWERS) and kept.spool is not None:
                kept.spool.close()
                kept.spool = None
                kept.shown.description = None
            if place >= _PICTURES:
                kept.shown.picture = ""
                kept.shown.plots = ()


def _copy_texts(file: Any, place: int, kept: _Kept) -> None:
    assert kept.spool is not None
    assert kept.shown.description is not None
    kept.spool.seek(0)
    for number, size in enumerate(kept.shown.description["sizes"]):
        file.write(f'<script type="text/plain" id="hu-{place}-{number}">'.encode())
        file.write(kept.spool.read(size))
        file.write(b"</script>\n")
