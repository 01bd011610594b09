"""What a run learns from, and what it is judged by."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ct_vae.config.run import RunConfig
from ct_vae.datasets.build import build_patches, image_size
from ct_vae.datasets.cache.fingerprint import case_digests
from ct_vae.datasets.patches import PatchDataset
from ct_vae.datasets.resize import ResizedDataset
from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.datasets.sources.check import checked_split
from ct_vae.datasets.sources.problems import refuse
from ct_vae.errors import CtVaeError, InputError, NoInputError
from ct_vae.io.hounsfield.padding import settle_padding
from ct_vae.io.hounsfield.plausibility import implausibility
from ct_vae.training.redact import redacted
from ct_vae.volume import Volume

_FIRST_PATCHES = 8
_NARROW_HU = 20


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run learns from and is judged by.

    Attributes:
        train: Patches in HU.
        validation: Each gives a whole volume.
        keys: Names of the training cases, of which a digest is kept; ``None`` for a data set that
            was given in Python.
        val_keys: Names of the validation cases.
        content: Digests of what the cases consist of, as in `Content`; empty where data were given
            in Python.
    """

    train: Dataset[Any]
    validation: Sequence[Callable[[], Volume]]
    keys: tuple[str, ...] | None
    val_keys: tuple[str, ...] = ()
    content: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def case_count(self) -> int:
        """Training cases, or items of a data set given in Python."""
        if isinstance(self.train, PatchDataset):
            return self.train.case_count
        return len(self.train)  # type: ignore[arg-type]

    @property
    def spacings_mm(self) -> Sequence[tuple[float, float, float]]:
        """Of training cases, as they are trained on; empty where they are not known."""
        return self.train.spacings_mm if isinstance(self.train, PatchDataset) else ()

    @property
    def cases(self) -> str:
        """A text that differs when the training cases or their order do; it names none."""
        if self.keys is None:
            return f"a data set given in Python, {self.case_count} items"
        digest = hashlib.sha256(json.dumps(self.keys).encode()).hexdigest()[:16]
        return f"{len(self.keys)} case(s), sha256 {digest}"

    def settings(self, config: RunConfig) -> dict[str, Any]:
        """The configuration as JSON, without paths."""
        tree = redacted(config.as_json())
        if self.keys is None:
            # The section tells of cases that such a run has never seen.
            return {**tree, "data": {**tree["data"], "train": self.cases}}
        return tree


def named_data(
    config: RunConfig,
    val_dataset: Sequence[Volume] | None,
    report: Callable[[str], None],
    keep: bool = True,
) -> RunData:
    """The data that a configuration names, checked as a whole before anything is loaded.

    Args:
        config: Of the run.
        val_dataset: Volumes to take instead of the validation cases.
        report: Takes a line about each case that is loaded, and about what is not used.
        keep: Keep the voxels; a plan only has to know what would be refused.

    Raises:
        ConfigError: With everything that is wrong.
        InputError: If volumes are damaged or refused.
    """
    split = checked_split(config)
    for note in split.notes:
        report(f"note: {note}")
    # Before they are read, so that a file that changes later is noticed.
    folder = config.data.cache_dir
    content = {"train": case_digests(split.train, folder, keep)}
    patches = build_patches(config, split.train, report, keep)
    keys = tuple(case.key for case in split.train)
    if val_dataset is not None:
        return RunData(patches, _given_volumes(val_dataset), keys, content=content)
    content["val"] = case_digests(split.val, folder, keep)
    _read_once(split.val)
    val_keys = tuple(case.key for case in split.val)
    return RunData(patches, [case.load for case in split.val], keys, val_keys, content)


def given_data(
    config: RunConfig,
    data: Dataset[Any],
    val_dataset: Sequence[Volume],
    report: Callable[[str], None],
    force: bool = False,
) -> RunData:
    """A data set that was given in Python, its images resized if the configuration says so.

    Args:
        config: Of the run.
        data: Patches in HU; the first ones are looked at.
        val_dataset: Whole volumes in HU.
        report: Takes a line about values that are not HU and are taken by ``force``.
        force: Take values that do not look like HU.

    Raises:
        InputError: If it has no items, if a validation item is no volume, or if values do not
            look like HU.
    """
    if not hasattr(data, "__len__") or len(data) == 0:
        raise InputError(
            "the training data set has no items, or does not tell how many",
            "give one with __len__ and __getitem__",
        )
    size = image_size(config)
    items = data if size is None else ResizedDataset(data, size)
    validation = _given_volumes(val_dataset)
    low, high = config.preprocess.window_hu
    # A window of so few HU shows nothing of CT: the configuration is made for other units.
    if high - low > _NARROW_HU:
        for problem in filter(None, (_data_problem(data), _volume_problem(val_dataset))):
            if not force:
                raise problem
            report(f"{problem.cause}; force takes it")
    return RunData(items, validation, None)


def _read_once(cases: Sequence[TrainingCase]) -> None:
    """Find out now, and not hours later, which validation cases are refused."""
    problems: list[CtVaeError] = []
    for case in cases:
        try:
            case.load()
        except (InputError, NoInputError) as error:
            problems.append(InputError(f"{case.key}: {error.cause}", error.hint))
    refuse(problems)


def _data_problem(data: Dataset[Any]) -> InputError | None:
    """The reason why the first patches of a data set are not in HU.

    Nothing that the run draws depends on having looked: global random states are restored.
    """
    patches: list[torch.Tensor] = []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's own
    try:
        with torch.random.fork_rng(devices=[]):
            for index in range(min(_FIRST_PATCHES, len(data))):  # type: ignore[arg-type]
                image = _image(data[index])
                # The loader says what is wrong with items of other types.
                if image is None or not torch.isfinite(image).all():
                    return None
                patches.append(image.detach().cpu().flatten().float())
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
    values = torch.cat(patches).numpy()
    if not values.size:
        return None
    problem = implausibility(values, settle_padding(values), excerpt=True)
    if problem is None:
        return None
    return InputError(
        f"the training data set {problem.cause} (in its first {len(patches)} patches)",
        "give patches in HU, the model's units are made of them by preprocess.window_hu and "
        "preprocess.model_range; if they are HU all the same, force=True takes them",
    )


def _image(item: Any) -> torch.Tensor | None:
    image = item.get("image") if isinstance(item, Mapping) else item
    return image.as_subclass(torch.Tensor) if isinstance(image, torch.Tensor) else None


def _volume_problem(volumes: Sequence[Volume]) -> InputError | None:
    """The reason why the first validation volume is not in HU."""
    if not volumes:
        return None
    voxels = volumes[0].voxels.copy()
    problem = implausibility(voxels, settle_padding(voxels))
    if problem is None:
        return None
    return InputError(
        f"the first validation volume {problem.cause}",
        "give volumes in HU; if they are HU all the same, force=True takes them",
    )


def _given_volumes(volumes: Sequence[Volume]) -> list[Callable[[], Volume]]:
    # A sequence that reads its volumes need not hold them all at once.
    strange = sorted({type(v).__name__ for v in volumes if not isinstance(v, Volume)})
    if strange:
        raise InputError(
            f"validation takes whole volumes, got {', '.join(strange)}",
            "make ct_vae.volume.Volume of them, or read them with ct_vae.io.read_volume",
        )
    return [partial(volumes.__getitem__, place) for place in range(len(volumes))]
