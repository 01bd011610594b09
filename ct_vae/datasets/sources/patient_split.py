"""Assignment of cases to training, validation and test lists by patient."""

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
    """Expected fractions of patients in the lists.

    The list of a patient depends only on a hash of the seed and the patient, so it stays the same
    when other patients are added. Larger fractions only move patients from training to other lists.

    Attributes:
        val: Fraction for validation, from 0 to below 1.
        test: Fraction for test.
        seed: Seed of the split.

    Raises:
        ConfigError: If the fractions are out of range or leave nothing for training.
    """

    val: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise ConfigError(
                f"shares of {self.val:g} for validation and {self.test:g} for test are invalid",
                "both are at least 0, and together below 1",
            )

    def list_of(self, patient: str) -> ListName:
        """Return the list of a patient, given by a digest."""
        place = self._place(patient)
        if place < self.val:
            return "validation"
        return "test" if place >= 1 - self.test else "training"

    def validating(self, patients: Collection[str]) -> set[str]:
        """Return the patients for validation: at least one, but not all; none of a single one.

        Args:
            patients: Digests of patients, none of them for test.
        """
        ordered = sorted(patients, key=lambda patient: (self._place(patient), patient))
        count = sum(self._place(patient) < self.val for patient in ordered)
        return set(ordered[: min(max(count, 1), len(ordered) - 1)])

    def _place(self, patient: str) -> float:
        """Map a patient to a pseudorandom number from 0 to below 1."""
        text = f"{self.seed}:{patient}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True)
class CaseAssignment:
    """Assignment of a case.

    Attributes:
        list_name: The list, common to all cases of the patient.
        same_as: Index of an earlier case with the same content, or ``None``.
        patient: Number of the patient, from 1 in the order of the cases.
    """

    list_name: ListName
    same_as: int | None
    patient: int


def place_cases(cases: Sequence[tuple[str, str]], shares: Shares) -> list[CaseAssignment]:
    """Assign cases to lists.

    Patients with a common volume, directly or through others, are in the same list: that of the
    patient with the smallest digest, independent of the order of the cases.

    Args:
        cases: Digests of the patient and of the content of each case.
        shares: Fractions of the lists.
    """
    first: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for index, (patient, content) in enumerate(cases):
        first.setdefault(content, index)
        numbers.setdefault(patient, len(numbers) + 1)
    leader = {patient: min(group) for group in linked_patients(cases) for patient in group}
    return [
        CaseAssignment(
            list_name=shares.list_of(leader.get(patient, patient)),
            same_as=first[content] if first[content] != index else None,
            patient=numbers[patient],
        )
        for index, (patient, content) in enumerate(cases)
    ]


def linked_patients(cases: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Return groups of patients with a common volume, directly or through others.

    Args:
        cases: Digests of the patient and of the content of each case.
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
