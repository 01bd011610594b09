"""Training and validation data of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from torch.utils.data import Dataset

from ct_vae.config.run import RunConfig
from ct_vae.datasets.build import build_patches, patch_dataset
from ct_vae.datasets.cache.fingerprint import case_digests
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.patches import PatchDataset
from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.datasets.sources.check import checked_split
from ct_vae.datasets.sources.problems import refuse
from ct_vae.errors import CtVaeError, InputError, NoInputError
from ct_vae.preprocess.pipeline import build_preprocessor
from ct_vae.training.data.given import (
    FirstImages,
    ImageDataset,
    ValidationCase,
    ValidationData,
    check_countable,
    restored_randomness,
    validation_data,
    volume_problem,
)
from ct_vae.training.data.images import ImageReader
from ct_vae.training.redact import redacted
from ct_vae.volume import Volume

_NARROW_HU = 20


@dataclass(frozen=True, eq=False)
class RunData:
    """Training and validation data of a run.

    Attributes:
        train: Patches in HU.
        validation: Functions that return a volume, or a patch ``[C, *spatial]`` in HU.
        keys: Names of the training cases, of which only a digest is stored; ``None`` for a data set
            given in Python.
        val_keys: Names of the validation cases.
        content: Digests of the cases, as in `Content`; empty for data sets given in Python.
        image_size: Size of the images of a data set given in Python; ``None`` if it follows from
            the configuration.
        val_patches: True if validation cases are patches.
    """

    train: Dataset[Any]
    validation: Sequence[ValidationCase]
    keys: tuple[str, ...] | None
    val_keys: tuple[str, ...] = ()
    content: Mapping[str, Sequence[str]] = field(default_factory=dict)
    image_size: tuple[int, ...] | None = None
    val_patches: bool = False

    @property
    def case_count(self) -> int:
        """Number of training cases, or of items of a data set given in Python."""
        if isinstance(self.train, PatchDataset):
            return self.train.case_count
        return cast(ImageDataset, self.train).item_count

    @property
    def spacings_mm(self) -> Sequence[tuple[float, float, float]]:
        """Spacings of the oriented training cases; empty if unknown."""
        return self.train.spacings_mm if isinstance(self.train, PatchDataset) else ()

    @property
    def cases(self) -> str:
        """Description of the training cases and their order by a digest, without names."""
        if self.keys is None:
            return f"a data set given in Python, {self.case_count} items"
        digest = hashlib.sha256(json.dumps(self.keys).encode()).hexdigest()[:16]
        return f"{len(self.keys)} case(s), sha256 {digest}"

    def settings(self, config: RunConfig) -> dict[str, Any]:
        """Return the configuration as JSON, without paths."""
        tree = redacted(config.as_json())
        if self.keys is None:
            # The cases in the configuration are not used.
            return {**tree, "data": {**tree["data"], "train": self.cases}}
        return tree


def named_data(
    config: RunConfig,
    val_dataset: Any,
    report: Callable[[str], None],
    keep: bool = True,
    force: bool = False,
) -> RunData:
    """Load the data of a configuration after checks of all of it.

    Args:
        config: Configuration of the run.
        val_dataset: Volumes or patches to use instead of the validation cases.
        report: Called with a line for each loaded case, and for everything that is not used.
        keep: Keep the voxels; False only checks the data.
        force: Accept values of ``val_dataset`` that do not look like HU.

    Raises:
        ConfigError: If there are problems; lists all of them.
        InputError: If volumes are damaged or refused.
    """
    split = checked_split(config)
    for note in split.notes:
        report(f"note: {note}")
    if config.data.image_key is not None and val_dataset is None:
        report("note: data.image_key is for data sets given in Python; it changes nothing here")
    # Computed before the files are read, to detect later changes.
    folder = config.data.cache_dir
    content = {"train": case_digests(split.train, folder, keep)}
    patches = build_patches(config, split.train, report, keep)
    keys = tuple(case.key for case in split.train)
    if val_dataset is not None:
        given = _validation(val_dataset, ImageReader(config))
        if given.problem is not None:
            _refuse_or_tell(given.problem, force, report)
        return RunData(patches, given.cases, keys, content=content, val_patches=given.patches)
    content["val"] = case_digests(split.val, folder, keep)
    _read_once(split.val)
    val_keys = tuple(case.key for case in split.val)
    return RunData(patches, [case.load for case in split.val], keys, val_keys, content)


def given_data(
    config: RunConfig,
    data: Any,
    val_dataset: Any,
    report: Callable[[str], None],
    force: bool = False,
) -> RunData:
    """Check data sets given in Python and return the data of a run.

    Args:
        config: Configuration of the run.
        data: Patches in HU, or volumes to cut patches from; the first items are checked.
        val_dataset: Volumes or patches in HU; may be empty or ``None``.
        report: Called with a line about values that are not HU but accepted by ``force``, and about
            patches with another size than in the configuration.
        force: Accept values that do not look like HU.

    Raises:
        InputError: If a data set has no items, if an item has no suitable image, or if values do
            not look like HU.
    """
    reader = ImageReader(config)
    check_countable(data, "training")
    train, size, problems = _training_images(config, data, reader)
    given = _validation(val_dataset, reader)
    low, high = config.preprocess.window_hu
    # With such a narrow window, the configuration is for other units than HU.
    if high - low > _NARROW_HU:
        for each in filter(None, (*problems, given.problem)):
            _refuse_or_tell(each, force, report)
    if size is not None and size != config.image_size:
        report(
            f"the data set gives patches of {_sides(size)} voxels, and the run trains on those, "
            f"not on training.patch_size {_sides(config.image_size)}"
        )
    return RunData(train, given.cases, None, image_size=size, val_patches=given.patches)


def _refuse_or_tell(problem: InputError, force: bool, report: Callable[[str], None]) -> None:
    if not force:
        raise problem
    report(f"{problem.cause}; force takes it")


def _training_images(
    config: RunConfig, data: Any, reader: ImageReader
) -> tuple[Dataset[Any], tuple[int, ...] | None, list[InputError | None]]:
    """Return the patches, their size if the data set determines it, and errors about values."""
    if isinstance(data, PatchDataset):
        return data, None, []
    with restored_randomness():
        first = data[0]
    if isinstance(first, Volume):
        return _patches_of(config, data), None, [volume_problem(first, "training")]
    looked = FirstImages(data, reader, "training")
    for size in looked.sizes:
        reader.check_sides(size)
    return ImageDataset(data, reader, looked.per_item), looked.size, [looked.problem()]


def _patches_of(config: RunConfig, volumes: Any) -> PatchDataset:
    orient = build_preprocessor(config.preprocess).orient
    stored = [StoredVolume.of(orient(volumes[place])) for place in range(len(volumes))]
    return patch_dataset(config, stored)


def _validation(val_dataset: Any, reader: ImageReader) -> ValidationData:
    if val_dataset is None or (hasattr(val_dataset, "__len__") and len(val_dataset) == 0):
        return ValidationData([])
    return validation_data(val_dataset, reader)


def _sides(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _read_once(cases: Sequence[TrainingCase]) -> None:
    """Read all validation cases, to report errors before the run instead of hours later."""
    problems: list[CtVaeError] = []
    for case in cases:
        try:
            case.load()
        except (InputError, NoInputError) as error:
            problems.append(InputError(f"{case.key}: {error.cause}", error.hint))
    refuse(problems)
