"""Output of an evaluation: tables after each case, and summaries from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from ct_vae.errors import OutputError
from ct_vae.evaluation.latent_quality.picture import write_latent_picture
from ct_vae.evaluation.latent_quality.result import LatentQuality
from ct_vae.evaluation.metrics.given_masks import write_masks
from ct_vae.evaluation.metrics.metric_rows import IN_WINDOW, MetricRow
from ct_vae.evaluation.pictures.panels import write_panel
from ct_vae.evaluation.rate_distortion.plot import write_plot
from ct_vae.evaluation.rate_distortion.summary import CaseCurves, summarize_curves
from ct_vae.evaluation.record import case_record, plan_record
from ct_vae.evaluation.report import HtmlReport, ReportCase
from ct_vae.evaluation.settings import Settings
from ct_vae.evaluation.tables import clear_results, summarize, write_csv, write_table
from ct_vae.evaluation.texture.noise import measure_texture
from ct_vae.find_volumes.cases import Case
from ct_vae.io import ReadOptions
from ct_vae.io.atomic.file import write_json
from ct_vae.masks import Mask, body_mask, everything, field_of_view
from ct_vae.volume import Volume

PLOTS = ("png", "svg")
# Maximum number of missing outputs listed in an error.
_LISTED = 5
# Pause between summaries, in multiples of the time of the last one: their cost grows with the
# number of cases, so a summary after each case would take quadratic time.
_SUMMARY_PAUSE = 20


def number_cases(cases: Sequence[Case]) -> dict[Case, str]:
    """Return an anonymous name for each case: ``case_0001``, ``case_0002``, ..."""
    return {case: f"case_{place:04d}" for place, case in enumerate(cases, start=1)}


class Results:
    """Tables, images, protocol and report of one evaluation.

    Args:
        folder: Output folder; results of an earlier evaluation are removed.
        settings: Metrics, masks and outputs.
        facts: Further entries of ``protocol.json``, such as the digest of the model.

    Raises:
        OutputError: If files of an earlier evaluation cannot be removed.
    """

    def __init__(self, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> None:
        clear_results(folder)
        self.folder = folder
        self.settings = settings
        self.rows: list[MetricRow] = []
        self.patients: dict[str, str] = {}
        self._facts = facts
        self._cases: dict[str, dict[str, Any]] = {}
        self._masks: dict[str, None] = {}
        self.warnings: dict[str, list[str]] = {}
        self._lines: list[dict[str, Any]] = []
        self._latents: dict[str, LatentQuality] = {}
        self.curves: list[CaseCurves] = []
        # Further entries of the summary, by name; empty ones are left out.
        self.summaries: dict[str, Callable[[], Any]] = {}
        self._missing: list[str] = []
        self._next_summary = 0.0
        self._summary: dict[str, Any] = {}
        # Number of rows in the summary on disk.
        self._summarized = 0
        self._report = HtmlReport(
            folder / "report.html", full=settings.full, model=str(facts.get("name", ""))
        )

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Write the summary at the end of the block, also after an exception.

        Raises:
            OutputError: If it cannot be written and the block raised no exception.
        """
        try:
            yield
        except BaseException:
            # The original exception is more important than a failed summary.
            with suppress(OutputError):
                self._summarize()
            raise
        self._summarize()

    def masks(self, original: Volume, key: str, options: ReadOptions) -> list[Mask]:
        """Return the masks of a case: computed ones, then those from files.

        Raises:
            NoInputError: If a mask file is missing.
            InputError: If a mask file is damaged or on another grid.
        """
        found = {
            "clinical": (body_mask, field_of_view),
            "body": (body_mask,),
            "all": (everything,),
        }[self.settings.masking]
        given = self.settings.given.read(original, key, options)
        return [find(original) for find in found] + given

    def warn(self, case: str, lines: Sequence[str]) -> None:
        """Keep warnings about a case for the summary, and for protocol and report when it is added.

        Args:
            case: Its name in the results.
            lines: None, or one for each thing that is odd.
        """
        if lines:
            self.warnings[case] = list(lines)

    def add(
        self,
        case: str,
        pair: tuple[Volume, Volume],
        masks: Sequence[Mask],
        rows: Sequence[MetricRow],
        *,
        patient: str = "",
        line: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Add a case and write the tables.

        The summary is written from time to time, and by `finish`. Failures of images and the report
        are raised by `finish`, after all tables have been written.

        Args:
            case: Name of the case.
            pair: Original and reconstruction.
            masks: Masks of the case; the first is the one shown.
            rows: Metrics of the case.
            patient: Patient of the case; defaults to the case.
            line: Row of ``cases.csv``.
            notes: Notes on the case, for the report.

        Raises:
            OutputError: If a table or mask cannot be written.
        """
        original, reconstruction = pair
        if self.settings.write_masks:
            write_masks(masks, original, self.folder, case)
        self.rows += rows
        self.patients[case] = patient or case
        self._masks |= dict.fromkeys(mask.name for mask in masks)
        told = [*self.warnings.get(case, ()), *notes]
        self._cases[case] = case_record(original, reconstruction) | {"notes": told}
        if line is not None:
            self._lines.append({"case": case, **line})
        self._write_tables()
        if self.settings.panels:
            path = self.folder / f"{case}.png"
            self._show(
                f"picture of {case}",
                lambda: write_panel(*pair, path, body=masks[0], title=case),
            )
        if self.settings.report:
            self._show(
                f"{case} in the report",
                lambda: self._report.add_case(
                    _report_case(case, pair, masks, rows, told, self._latents.get(case))
                ),
            )

    def add_latent(self, case: str, quality: LatentQuality) -> None:
        """Add the measurements of the latent of a case, for ``latent.json`` and a picture.

        Args:
            case: Name of the case, which is added by `add` afterwards.
            quality: Measurements.
        """
        self._latents[case] = quality
        if self.settings.panels:
            path = self.folder / f"{case}_latent.png"
            self._show(
                f"picture of the latent of {case}",
                lambda: write_latent_picture(quality, path, title=case),
            )

    def add_curves(self, curves: CaseCurves) -> None:
        """Add the rate-distortion curves of a case and write ``rate_distortion.csv``.

        Raises:
            OutputError: If the table cannot be written.
        """
        self.curves.append(curves)
        lines = [line for case in self.curves for line in case.lines()]
        write_table(lines, self.folder / "rate_distortion.csv")

    def finish(self, probe: dict[str, Any] | None = None) -> None:
        """Write the summary, the results of the phantom probe, if any, and the report, if enabled.

        Raises:
            OutputError: If one of them, or the image of an earlier case, could not be written.
        """
        self._summarize()
        if probe is not None:
            write_json(self.folder / "probe.json", probe)
        for path in (self.folder / f"rate_distortion.{kind}" for kind in PLOTS if self.curves):
            title = str(self._facts.get("name", ""))
            self._show(path.name, partial(write_plot, self.curves, path, title=title))
        if self.settings.report and self.rows:
            self._show(
                "report",
                lambda: self._report.write(
                    self.rows, self._summary, self.protocol(), probe, self.curves
                ),
            )
        if self._missing:
            listed, more = self._missing[:_LISTED], len(self._missing) - _LISTED
            rest = f"; and {more} more" if more > 0 else ""
            raise OutputError("; ".join(listed) + rest, "all tables are written")

    def _show(self, what: str, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as error:
            # A failed image must not lose the metrics.
            self._missing.append(f"no {what}: {error or type(error).__name__}")

    def protocol(self) -> dict[str, Any]:
        """Return the content of ``protocol.json``."""
        names = [*self._masks, *([IN_WINDOW] if self.settings.plan.unclipped else [])]
        return {
            **self._facts,
            **plan_record(self.settings.plan, names, self.settings.about),
            "cases": self._cases,
        }

    def _write_tables(self) -> None:
        write_csv(self.rows, self.folder / "metrics.csv")
        if self._lines:
            write_table(self._lines, self.folder / "cases.csv")
        if time.monotonic() >= self._next_summary:
            self._summarize()

    def _summarize(self) -> None:
        """Write the summary of all cases if rows have been added."""
        if self._summarized == len(self.rows):
            return
        started = time.monotonic()
        self._summary = summarize(self.rows, self.patients)
        for name in ("bits_per_voxel", "bits_per_voxel_at_1_percent"):
            sizes = [line[name] for line in self._lines if line.get(name) is not None]
            if sizes:
                self._summary[name] = median(sizes)
        if self.curves:
            self._summary["rate_distortion"] = summarize_curves(self.curves)
        for name, summary_of in self.summaries.items():
            if found := summary_of():
                self._summary[name] = found
        if self.warnings:
            self._summary["warnings"] = dict(self.warnings)
        write_json(self.folder / "summary.json", self._summary)
        write_json(self.folder / "protocol.json", self.protocol())
        if self._latents:
            found = {case: latent.as_dict() for case, latent in self._latents.items()}
            write_json(self.folder / "latent.json", found)
        self._summarized = len(self.rows)
        ended = time.monotonic()
        self._next_summary = ended + _SUMMARY_PAUSE * (ended - started)


def _report_case(
    case: str,
    pair: tuple[Volume, Volume],
    masks: Sequence[Mask],
    rows: Sequence[MetricRow],
    notes: Sequence[str],
    latent: LatentQuality | None,
) -> ReportCase:
    texture = measure_texture(*pair, masks[0])
    remarks = (*notes, *(mask.note for mask in masks if mask.note))
    if texture.note:
        remarks += (f"noise spectrum: {texture.note}",)
    return ReportCase(case, *pair, list(rows), masks[0], texture, remarks, latent)
