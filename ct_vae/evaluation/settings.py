"""Settings of an evaluation, built from the options of commands and bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.evaluation.measure import DEFAULT_METRICS, METRICS, Plan
from ct_vae.evaluation.metrics.given_masks import GivenMasks, name_masks, read_label_names
from ct_vae.evaluation.metrics.similarity.lpips import load_network
from ct_vae.evaluation.patients import Patients, read_patients
from ct_vae.evaluation.protocols import PROTOCOLS, Masking
from ct_vae.evaluation.windows import parse_window
from ct_vae.find_volumes.cases import Case
from ct_vae.io.walk import real_path


@dataclass(frozen=True)
class Settings:
    """Metrics, masks and outputs of an evaluation.

    Attributes:
        plan: Metrics to compute.
        masking: Masks to compute from the original.
        given: Masks from files.
        about: Description of the published protocol; empty if none is used.
        patients: Patient of each volume path.
        panels: True to write an image of each case.
        report: True to write the report.
        full: True to include all voxels in the report.
        write_masks: True to write the masks.
        phantom: True to run the phantom probe too.
        latent: True to measure the latents too, see `latent_quality.measure_latent`.
    """

    plan: Plan = field(default_factory=Plan)
    masking: Masking = "clinical"
    given: GivenMasks = field(default_factory=GivenMasks)
    about: str = ""
    patients: Patients = field(default_factory=dict)
    panels: bool = True
    report: bool = True
    full: bool = False
    write_masks: bool = False
    phantom: bool = False
    latent: bool = False

    def check(self, cases: Sequence[Case]) -> list[str]:
        """Check masks and datalist before any work.

        Args:
            cases: All cases to evaluate.

        Returns:
            A warning if the datalist contains only some of the cases, else an empty list.

        Raises:
            ConfigError: If a mask file is given for several cases, or the datalist contains none of
                the cases.
            NoInputError: If a mask does not exist.
        """
        self.given.check(len(cases))
        unknown = sum(real_path(case.path) not in self.patients for case in cases)
        if not self.patients or not unknown:
            return []
        if unknown == len(cases):
            raise ConfigError(
                f"the datalist contains none of the {unknown} volumes that are measured",
                "give a list of these files, or leave it out",
            )
        return [
            f"warning: the datalist names {len(cases) - unknown} of {len(cases)} volumes; each of "
            "the others counts as a patient of its own"
        ]


def build_settings(  # noqa: PLR0913 - one parameter per option
    *,
    windows: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    protocol: str | None = None,
    masks: str | Sequence[str] = (),
    labels: str | Path | None = None,
    label_names: str | Path | None = None,
    reconstruction_labels: str | Path | None = None,
    datalist: str | Path | None = None,
    panels: bool = True,
    report: bool = True,
    full: bool = False,
    write_masks: bool = False,
    phantom: bool = False,
    latent: bool = False,
    rate_distortion: bool = False,
    lpips_weights: str | Path | None = None,
) -> Settings:
    """Build settings from names and paths.

    Args:
        windows: Names or ``name:width/level``, as a sequence or comma-separated string; defaults to
            `COMPARED_WINDOWS`.
        metrics: Names from `ct_vae.evaluation.measure.METRICS`, or ``all``, as a sequence or
            comma-separated string; defaults to `DEFAULT_METRICS`.
        protocol: ``synthrad``, ``maisi`` or ``openvae``, instead of windows and metrics.
        masks: Files or folders, as ``path`` or ``name=path``.
        labels: Label map, or folder of label maps.
        label_names: JSON or CSV file with label names.
        reconstruction_labels: Label map of the reconstruction, or folder of label maps.
        datalist: CSV file or datalist with the patient of each volume.
        panels: Write an image of each case.
        report: Write ``report.html``.
        full: Include all voxels in the report.
        write_masks: Write the masks.
        phantom: Run the phantom probe too.
        latent: Measure the latents too.
        rate_distortion: Measure rate-distortion curves.
        lpips_weights: Weights of VGG-16 for the perceptual distance LPIPS; nothing is downloaded.

    Raises:
        ConfigError: If a name is unknown, a protocol is combined with windows or metrics, label
            names or labels of reconstructions are given without labels, ``full`` without a report,
            weights are missing, or a list is invalid.
    """
    if full and not report:
        raise ConfigError("full needs a report, but report is off", "leave out one of them")
    if label_names is not None and labels is None:
        raise ConfigError("names of labels need labels", "give labels as well")
    if reconstruction_labels is not None and labels is None:
        raise ConfigError(
            "labels of reconstructions are compared with labels of the originals",
            "give labels as well",
        )
    names = read_label_names(Path(label_names)) if label_names else ()
    plan, masking, about = _plan(_listed(windows), _listed(metrics), protocol)
    if rate_distortion:
        plan = replace(plan, rate_distortion=True)
    if lpips_weights:
        load_network(Path(lpips_weights))
        plan = replace(plan, lpips_weights=Path(lpips_weights))
    return Settings(
        plan,
        masking,
        GivenMasks(
            name_masks([masks] if isinstance(masks, str) else masks),
            Path(labels) if labels else None,
            names,
            Path(reconstruction_labels) if reconstruction_labels else None,
        ),
        about,
        read_patients(Path(datalist)) if datalist else {},
        panels=panels,
        report=report,
        full=full,
        write_masks=write_masks,
        phantom=phantom,
        latent=latent,
    )


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(names, str):
        return names
    return [name.strip() for name in names.split(",") if name.strip()]


def _plan(
    windows: Sequence[str], metrics: Sequence[str], protocol: str | None
) -> tuple[Plan, Masking, str]:
    """Return metrics, masks and the description of the protocol."""
    if protocol is not None:
        if protocol not in PROTOCOLS:
            raise ConfigError(f"a protocol is {', '.join(PROTOCOLS)}, got {protocol!r}")
        if windows or metrics:
            raise ConfigError(
                f"the protocol {protocol} has its own windows and metrics",
                "leave windows and metrics out",
            )
        known = PROTOCOLS[protocol]
        return known.plan, known.masking, known.about
    names = tuple(metrics) or DEFAULT_METRICS
    chosen = METRICS if names == ("all",) else names
    unknown = [name for name in chosen if name not in METRICS]
    if unknown:
        raise ConfigError(
            f"metrics {', '.join(unknown)}: not known", f"there are all, {', '.join(METRICS)}"
        )
    if not windows:
        return Plan(metrics=chosen), "clinical", ""
    own = tuple(dict.fromkeys(parse_window(text) for text in windows))
    return Plan(own, own, chosen), "clinical", ""
