"""Evaluation of many cases, for the command and for bundles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ct_vae.evaluation.case import evaluate_case
from ct_vae.evaluation.latent_quality.measure import measure_latent
from ct_vae.evaluation.metrics.codebook import CodebookUse
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.organs.results import OrganResults
from ct_vae.evaluation.patients import unit_of
from ct_vae.evaluation.probe.run import run_probe
from ct_vae.evaluation.results import Results, number_cases
from ct_vae.evaluation.settings import Settings
from ct_vae.find_volumes.cases import Case
from ct_vae.inference.codec import Codec
from ct_vae.io import ReadOptions
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.progress import report_stage
from ct_vae.terminal import say


class Evaluation:
    """Evaluate cases with a model, one after the other.

    Args:
        codec: Model to evaluate.
        cases: All cases; results contain their numbers instead of names.
        folder: Output folder; results of an earlier evaluation are removed.
        settings: Metrics, masks and outputs.
        reading: Options for reading volumes.
        report: Function called with warnings about the settings.

    Raises:
        ConfigError: If a mask file is given for several cases, or the datalist contains none of
            them.
        NoInputError: If a given mask does not exist.
        OutputError: If results of an earlier evaluation cannot be removed.
    """

    def __init__(
        self,
        codec: Codec,
        cases: Sequence[Case],
        folder: Path,
        settings: Settings,
        reading: ReadOptions,
        report: Callable[[str], None] = say,
    ) -> None:
        for line in settings.check(cases):
            report(line)
        self.codec, self.settings, self.reading = codec, settings, reading
        self.results = Results(folder, settings, _facts(codec, reading))
        self._names = number_cases(cases)
        self._organs = OrganResults(folder, settings.given, reading)
        self.results.summaries["organs"] = self._organs.summary
        model = codec.network.model
        self._codebook = None
        if isinstance(model, QuantizedAutoencoder):
            self._codebook = CodebookUse(model.codebook_size)
            self.results.summaries["codebook"] = self._codebook.as_dict

    def work(self, case: Case) -> str:
        """Evaluate a case and return a line that summarizes the result.

        Raises:
            InputError: If the volume is damaged or refused.
            OutputError: If a table cannot be written.
        """
        name = self._names[case]
        report_stage("reading")
        original = case.read(self.reading)
        report_stage("finding the body")
        used = self.results.masks(original, case.key, self.reading)
        found = evaluate_case(self.codec, original, name, self.settings.plan, used)
        line = ""
        if self.settings.latent:
            report_stage("measuring the latent")
            quality = measure_latent(self.codec, original)
            self.results.add_latent(name, quality)
            line = f"; {quality.line()}"
        if self._codebook:
            self._codebook.add(found.latent)
        self._organs.add(name, case.key, Pair(original, found.reconstruction))
        if found.curves:
            self.results.add_curves(found.curves)
        report_stage("writing")
        self.results.add(
            name,
            (original, found.reconstruction),
            used,
            found.rows,
            patient=unit_of(case.path, name, self.settings.patients),
            line=found.line(),
            notes=found.notes,
        )
        bits = f"{found.compression.bits_per_voxel:.3g} bits per voxel on disk"
        coded = found.compression.bits_per_voxel_at_1_percent
        if coded is not None:
            bits += f", {coded:.3g} coded at +1 % RMSE"
        return f"{case.path} is {name}: {bits}, in {found.cost.seconds:.1f} s{line}"

    def finish(self) -> None:
        """Write the report and, if enabled, the results of the phantom probe.

        Raises:
            OutputError: If a file, or the image of an earlier case, could not be written.
        """
        report_stage("measuring phantoms" if self.settings.phantom else "writing the report")
        probe = run_probe(self.codec).as_dict() if self.settings.phantom else None
        self.results.finish(probe)


def _facts(codec: Codec, reading: ReadOptions) -> dict[str, Any]:
    return {
        "command": "evaluate",
        "name": codec.identity.name,
        "model_sha256": codec.identity.sha256,
        "latent_type": codec.identity.latent_type,
        "device": str(codec.network.device),
        "tiling": asdict(codec.tiling),
        "read_options": asdict(reading),
    }
