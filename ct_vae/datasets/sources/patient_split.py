"""Which list each case goes into: by patient, for good, and each volume once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ct_vae.errors import ConfigError

ListName = Literal["training", "validation", "test"]
LIST_NAMES: tuple[ListName, ...] = ("training", "validation", "test")


@dataclass(frozen=True)
class Shares:
    """The share of patients that each list gets in the long run.

    A patient's list follows from a hash of the seed and the patient alone, so that it stays the
    same when others are added. A larger share takes patients from training only.

    Attributes:
        val: Of validation, from 0 to below 1.
        test: Of test.
        seed: Another one gives another split.

    Raises:
        ConfigError: If the shares are out of range or leave nothing for training.
    """

    val: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise ConfigError(
                f"shares of {self.val:g} for validation and {self.test:g} for test do not work",
                "both are at least 0, and together below 1",
            )

    def list_of(self, patient: str) -> ListName:
        """The list of a patient, who is told by a digest."""
        place = self._place(patient)
        if place < self.val:
            return "validation"
        return "test" if place >= 1 - self.test else "training"

    def validating(self, patients: Collection[str]) -> set[str]:
        """The patients among some who validate: at least one, and not all.

        Where the share gives nobody or everybody, the patient who comes next joins or leaves.
        There is nobody to choose from fewer than two patients.

        Args:
            patients: Digests; none of them is for test.
        """
        ordered = sorted(patients, key=lambda patient: (self._place(patient), patient))
        count = sum(self._place(patient) < self.val for patient in ordered)
        return set(ordered[: min(max(count, 1), len(ordered) - 1)])

    def _place(self, patient: str) -> float:
        """Where a patient stands among all that there may be, from 0 to below 1."""
        text = f"{self.seed}:{patient}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True)
class Placement:
    """Where a case belongs.

    Attributes:
        list_name: Its list, that of all cases of the patient.
        same_as: Index of the first case with the same content, if there is one before it.
        patient: Number of the patient, from 1 in the order of the cases.
    """

    list_name: ListName
    same_as: int | None
    patient: int


def place_cases(cases: Sequence[tuple[str, str]], shares: Shares) -> list[Placement]:
    """Put cases into lists.

    Patients who have a volume in common, directly or through others, share one list: that of the
    one whose digest comes first, whatever the order of the cases.

    Args:
        cases: Of each, the digests of its patient and of its content.
        shares: Of the lists.
    """
    first: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for index, (patient, content) in enumerate(cases):
        first.setdefault(content, index)
        numbers.setdefault(patient, len(numbers) + 1)
    leader = {patient: min(group) for group in linked_patients(cases) for patient in group}
    return [
        Placement(
            list_name=shares.list_of(leader.get(patient, patient)),
            same_as=first[content] if first[content] != index else None,
            patient=numbers[patient],
        )
        for index, (patient, content) in enumerate(cases)
    ]


def linked_patients(cases: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Groups of two or more patients who have a volume in common, directly or through others.

    Args:
        cases: Of each, the digests of its patient and of its content.
    """
    group_of: dict[str, set[str]] = {}
    holder: dict[str, str] = {}
    for patient, content in cases:
        own = group_of.setdefault(patient, {patient})
        other = group_of[holder.setdefault(content, patient)]
        if own is not other:
            own |= other
            group_of.update(dict.fromkeys(own, own))
    groups = {id(group): group for group in group_of.values() if len(group) > 1}
    return list(groups.values())
