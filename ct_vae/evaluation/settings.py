"""What an evaluation measures and writes: as commands and bundles are told it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.evaluation.measure import DEFAULT_METRICS, METRICS, Plan
from ct_vae.evaluation.metrics.given_masks import GivenMasks, name_masks, read_label_names
from ct_vae.evaluation.patients import Patients, read_patients
from ct_vae.evaluation.protocols import PROTOCOLS, Masking
from ct_vae.evaluation.windows import parse_window
from ct_vae.io.search.cases import Case
from ct_vae.io.search.walk import real_path


@dataclass(frozen=True)
class Settings:
    """What is measured, where, and what is written.

    Attributes:
        plan: What is measured.
        masking: Which masks are found in the original.
        given: Masks from files.
        about: The published protocol that is followed; empty when none is.
        patients: By the place of their volumes.
        panels: Whether each case gets a picture.
        report: Whether there is a report.
        full: Whether the report holds every voxel.
        write_masks: Whether masks are written.
        phantom: Whether drawn objects of known size and HU go through the model as well.
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

    def check(self, cases: Sequence[Case]) -> list[str]:
        """Refuse masks and lists that cannot serve, before any work.

        Args:
            cases: All that will be measured.

        Returns:
            A line if some cases are not in the list of patients.

        Raises:
            ConfigError: If one mask is to serve several cases, or the list names none of them.
            NoInputError: If a mask does not exist.
        """
        self.given.check(len(cases))
        unknown = sum(real_path(case.path) not in self.patients for case in cases)
        if not self.patients or not unknown:
            return []
        if unknown == len(cases):
            raise ConfigError(
                f"the datalist names none of the {unknown} volumes that are measured",
                "give the list of these very files, or leave it out",
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
    datalist: str | Path | None = None,
    panels: bool = True,
    report: bool = True,
    full: bool = False,
    write_masks: bool = False,
    phantom: bool = False,
) -> Settings:
    """Settings from names and paths.

    Args:
        windows: By name, or ``name:width/level``; empty for the usual ones. A text holds names
            with commas between them.
        metrics: Of `ct_vae.evaluation.measure.METRICS`, or ``all``; empty for the usual ones. A
            text is taken as with ``windows``.
        protocol: ``synthrad`` or ``maisi``, instead of windows and metrics.
        masks: Files or folders, as ``path`` or ``name=path``.
        labels: Label map, or folder of them.
        label_names: JSON or CSV with the names of labels.
        datalist: Table that names the patient of each volume.
        panels: Write a picture for each case.
        report: Write ``report.html``.
        full: Put every voxel into the report.
        write_masks: Write the masks that were used.
        phantom: Let drawn objects of known size and HU go through the model as well.

    Raises:
        ConfigError: If a name is not known, a protocol comes with windows or metrics, label names
            without labels, ``full`` without a report, or a list is damaged.
    """
    if full and not report:
        raise ConfigError("full puts voxels into the report, and none is wanted", "leave one out")
    if label_names is not None and labels is None:
        raise ConfigError("names of labels need labels", "give labels as well")
    names = read_label_names(Path(label_names)) if label_names else ()
    plan, masking, about = _plan(_listed(windows), _listed(metrics), protocol)
    return Settings(
        plan,
        masking,
        GivenMasks(
            name_masks([masks] if isinstance(masks, str) else masks),
            Path(labels) if labels else None,
            names,
        ),
        about,
        read_patients(Path(datalist)) if datalist else {},
        panels=panels,
        report=report,
        full=full,
        write_masks=write_masks,
        phantom=phantom,
    )


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(names, str):
        return names
    return [name.strip() for name in names.split(",") if name.strip()]


def _plan(
    windows: Sequence[str], metrics: Sequence[str], protocol: str | None
) -> tuple[Plan, Masking, str]:
    """The plan, which masks are found, and the protocol in words."""
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
