"""Comparison of many originals with reconstructions made by any tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.evaluation.measure import measure_pair
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.organs.results import OrganResults
from ct_vae.evaluation.patients import unit_of
from ct_vae.evaluation.rate_distortion.measure import curves_of_pair
from ct_vae.evaluation.reconstruction_check import reconstruction_warnings
from ct_vae.evaluation.results import Results, number_cases
from ct_vae.evaluation.settings import Settings
from ct_vae.find_volumes.cases import Case
from ct_vae.io import ReadOptions
from ct_vae.progress import report_stage
from ct_vae.terminal import say


class Comparison:
    """Compare originals with their reconstructions, one after the other.

    Args:
        partners: Reconstruction of each original.
        folder: Output folder; results of an earlier evaluation are removed.
        settings: Metrics, masks and outputs.
        reading: Options for reading volumes.
        bits_per_voxel: Size of the code of the reconstructions, for rate-distortion curves.
        report: Function called with warnings.

    Raises:
        ConfigError: If a size is given without rate-distortion curves, a mask file is given for
            several cases, or the datalist contains none of them.
        NoInputError: If a given mask does not exist.
        OutputError: If results of an earlier evaluation cannot be removed.
    """

    def __init__(
        self,
        partners: Mapping[Case, Case],
        folder: Path,
        settings: Settings,
        reading: ReadOptions,
        bits_per_voxel: float | None = None,
        report: Callable[[str], None] = say,
    ) -> None:
        if bits_per_voxel is not None and not settings.plan.rate_distortion:
            raise ConfigError(
                "--bits-per-voxel is used by --rate-distortion only", "add it, or leave this out"
            )
        cases: Sequence[Case] = list(partners)
        for line in settings.check(cases):
            report(line)
        self.settings, self.reading, self.report = settings, reading, report
        self.results = Results(
            folder, settings, {"command": "compare", "read_options": asdict(reading)}
        )
        self._partners, self._bits = partners, bits_per_voxel
        self._names = number_cases(cases)
        self._organs = OrganResults(folder, settings.given, reading)
        self.results.summaries["organs"] = self._organs.summary

    def work(self, case: Case) -> str:
        """Compare a case and return a line that names it.

        Raises:
            InputError: If a volume is damaged or refused, or the grids differ.
            OutputError: If a table cannot be written.
        """
        name, partner, results = self._names[case], self._partners[case], self.results
        report_stage("reading")
        original = case.read(self.reading)
        # A bad reconstruction may not look like CT, but must be measured.
        result = partner.read(replace(self.reading, force=True))
        report_stage("measuring")
        pair = Pair(original, result)
        used = results.masks(original, case.key, self.reading)
        rows = measure_pair(pair, self.settings.plan, used, (name, "reconstruction"))
        self._organs.add(name, case.key, pair)
        notes: list[str] = []
        if self.settings.plan.rate_distortion:
            results.add_curves(curves_of_pair(name, pair, self._bits, notes))
        odd = reconstruction_warnings(pair)
        results.warn(name, odd)
        for line in odd:
            self.report(f"warning: {partner.path}: {line}")
        patient = unit_of(case.path, name, self.settings.patients)
        results.add(name, (original, result), used, rows, patient=patient, notes=notes)
        return f"{case.path} and {partner.path} are {name}"

    def finish(self) -> None:
        """Write the report, and count the reconstructions that may not be in HU.

        Raises:
            OutputError: If a file, or the image of an earlier case, could not be written.
        """
        report_stage("writing the report")
        if self.results.warnings:
            count = len(self.results.warnings)
            self.report(
                f"warning: {count} reconstruction(s) may not be in HU; summary.json says why"
            )
        self.results.finish()
