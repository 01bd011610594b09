"""State of a batch of encoding: which cases are done, failed, running and left."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ct_vae.batch.failures import find_lists
from ct_vae.batch.lease import is_running, lease_path
from ct_vae.find_volumes.cases import Case
from ct_vae.io.latent.file import whole_record
from ct_vae.io.latent.layout import MAISI_ENDING
from ct_vae.io.latent.record import SUFFIXES
from ct_vae.progress import report_fraction, report_stage

_ENDINGS = (*(f"_latent{suffix}" for suffix in SUFFIXES), MAISI_ENDING)


@dataclass
class BatchStatus:
    """State of the cases of a batch.

    Attributes:
        done: Cases with a complete latent.
        failed: Cause of the failure of each failed case.
        running: Cases that a process is working on.
        left: All other cases.
        unread: Cause of each input that is not a case, such as a damaged archive.
    """

    done: list[Case] = field(default_factory=list)
    failed: dict[Case, str] = field(default_factory=dict)
    running: list[Case] = field(default_factory=list)
    left: list[Case] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def retry(self) -> list[Case]:
        """Cases to process again: those that failed and those that are left."""
        return [*self.failed, *self.left]

    def line(self) -> str:
        """Summarize the state in one line."""
        total = len(self.done) + len(self.failed) + len(self.running) + len(self.left)
        counts = {
            "done": len(self.done),
            "failed": len(self.failed),
            "running": len(self.running),
            "left": len(self.left),
            "not read": len(self.unread),
        }
        shown = ", ".join(f"{n} {name}" for name, n in counts.items() if n or name == "done")
        return f"{shown} of {total} cases"

    def facts(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "done": [case.key for case in self.done],
            "failed": {case.key: cause for case, cause in self.failed.items()},
            "running": [case.key for case in self.running],
            "left": [case.key for case in self.left],
            "not_read": self.unread,
        }


def batch_status(folder: Path, cases: Sequence[Case]) -> BatchStatus:
    """Find the state of every case of ``encode``, without changing anything.

    A latent is done if it agrees with the checksum in its record. Whether it belongs to the model
    and to the present voxels is checked by ``encode``, which makes it again if not.

    Args:
        folder: Output folder of ``encode``.
        cases: All cases of the batch.
    """
    status, causes = BatchStatus(), _causes(folder)
    report_stage("checking latents", len(cases), "cases")
    for number, case in enumerate(cases, 1):
        targets = [folder / f"{case.key}{ending}" for ending in _ENDINGS]
        cause = causes.pop(str(case.path), None)
        if any(is_running(lease_path(target)) for target in targets):
            status.running.append(case)
        elif any(os.path.exists(t) and whole_record(t) is not None for t in targets):  # noqa: PTH110
            status.done.append(case)
        elif cause is not None:
            status.failed[case] = cause
        else:
            status.left.append(case)
        report_fraction(number / len(cases))
    status.unread = causes
    return status


def _causes(folder: Path) -> dict[str, str]:
    """Return the cause of every failure of ``encode`` in the lists of all shards, by path."""
    causes: dict[str, str] = {}
    for path in find_lists(folder):
        for line in path.read_text("utf-8").splitlines():
            failure = json.loads(line)
            if failure["stage"] == "encode":
                causes[failure["case"]] = failure["cause"]
    return causes
