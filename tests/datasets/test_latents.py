from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ct_vae.datasets.latents import LatentDataset
from ct_vae.errors import ConfigError, InputError, NoInputError
from ct_vae.io import read_latent, write_latent
from ct_vae.latent import LatentStatistics
from tests.io._samples import latent_of, with_posterior


def _measured(latent):
    flat = latent.array.reshape(4, -1).astype(np.float64)
    statistics = LatentStatistics(
        mean=tuple(flat.mean(axis=1).tolist()),
        std=tuple(flat.std(axis=1).tolist()),
        posterior_std=(0.05,) * 4,
    )
    return replace(latent, record=latent.record.model_copy(update={"statistics": statistics}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Latents of different shapes in three forms, with standard deviations."""
    root = tmp_path_factory.mktemp("latents")
    for k, (name, dtype, layout) in enumerate(
        [
            ("a_latent.nii.gz", "float32", "plain"),
            ("b/b_latent.nii", "float32", "vector"),
            ("c_latent.latz", None, "plain"),
        ]
    ):
        latent = _measured(latent_of(seed=k, shape=(6 + k, 7, 9)))
        write_latent(with_posterior(latent, seed=k), root / name, dtype, layout)
    return root


def test_whole_latents_are_normalized_together(folder):
    dataset = LatentDataset([folder])
    assert len(dataset) == 3
    assert sorted(dataset[k]["key"] for k in range(3)) == ["a_latent", "b/b_latent", "c_latent"]
    flat = torch.cat([dataset[k]["latent"].flatten(1) for k in range(3)], dim=1)
    assert flat.dtype == torch.float32
    torch.testing.assert_close(flat.mean(1), torch.zeros(4), atol=2e-3, rtol=0)
    torch.testing.assert_close(flat.std(1, correction=0), torch.ones(4), atol=2e-3, rtol=0)


def test_denormalized_latents_are_those_of_the_files(folder):
    dataset, plain = LatentDataset([folder]), LatentDataset([folder], normalize=False)
    for k, case in enumerate(dataset.cases):
        stored = torch.from_numpy(read_latent(case.path).array)
        assert torch.equal(plain[k]["latent"], stored)
        assert torch.equal(plain.denormalize(stored), stored)
        restored = dataset.denormalize(dataset[k]["latent"][None])[0]
        torch.testing.assert_close(restored, stored, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("align", [1, 2, 3])
def test_crops_start_at_multiples_and_are_where_they_say(folder, align):
    dataset = LatentDataset([folder], (3, 4, 5), align=align, flip_axes=(0, 2), normalize=False)
    torch.manual_seed(0)
    seen = set()
    for k in [0, 1, 2] * 12:
        item = dataset[k]
        start, flips = item["start"].tolist(), item["flips"].tolist()
        seen.add((tuple(start), tuple(flips)))
        assert item["latent"].shape == (4, 3, 4, 5)
        assert all(each % align == 0 for each in start)
        assert not flips[1]
        latent = read_latent(dataset.cases[k].path)
        inner = tuple(slice(a, a + n) for a, n in zip(start, (3, 4, 5), strict=True))
        expected = latent.array[(slice(None), *inner)]
        flipped = np.flip(expected, [axis + 1 for axis in range(3) if flips[axis]])
        np.testing.assert_array_equal(item["latent"].numpy(), flipped)
        # The affine leads from any voxel of the crop to its place in the body.
        place = [a + (n - 1 if f else 0) for a, n, f in zip(start, (3, 4, 5), flips, strict=True)]
        np.testing.assert_allclose(item["affine"].numpy()[:3, 3], latent.grid.to_world(place))
        last = [a + (0 if f else n - 1) for a, n, f in zip(start, (3, 4, 5), flips, strict=True)]
        np.testing.assert_allclose(
            (item["affine"].numpy() @ [2, 3, 4, 1])[:3], latent.grid.to_world(last)
        )
    assert len(seen) > 5
    assert {flips[0] for _, flips in seen} == {False, True}


def test_samples_are_drawn_afresh_with_the_width_of_the_posterior(folder):
    dataset = LatentDataset([folder], sample=True, normalize=False)
    for k, case in enumerate(dataset.cases):
        torch.manual_seed(0)
        first, second = dataset[k]["latent"], dataset[k]["latent"]
        assert not torch.equal(first, second)
        torch.manual_seed(0)
        assert torch.equal(dataset[k]["latent"], first)
        latent = read_latent(case.path)
        known = latent.std > 0
        noise = (first.numpy() - latent.array)[known] / latent.std[known]
        assert noise.std() == pytest.approx(1, abs=0.05)
        assert abs(noise.mean()) < 0.06


def test_batches_and_workers(folder):
    dataset = LatentDataset([folder], (4, 4, 4), flip_axes=(0,))
    loader = DataLoader(dataset, batch_size=3, num_workers=1)
    torch.manual_seed(0)
    (one,), (two,) = list(loader), list(loader)
    assert one["latent"].shape == (3, 4, 4, 4, 4)
    assert one["affine"].shape == (3, 4, 4)
    assert len(one["key"]) == 3
    assert not torch.equal(one["latent"], two["latent"])


def test_what_does_not_fit_together_is_refused(tmp_path, folder):
    with pytest.raises(NoInputError):
        LatentDataset([tmp_path])
    with pytest.raises(InputError, match=r"a_latent.*fewer than the size \(7, 3, 3\)"):
        LatentDataset([folder], (7, 3, 3))
    write_latent(_measured(latent_of()), tmp_path / "a_latent.nii.gz")
    with pytest.raises(ConfigError, match="encode with --posterior"):
        LatentDataset([tmp_path], sample=True)
    write_latent(latent_of("codes"), tmp_path / "codes" / "b_latent.nii.gz")
    with pytest.raises(InputError, match=r"codes"):
        LatentDataset([tmp_path / "codes"])
    other = _measured(latent_of())
    model = other.record.model.model_copy(update={"name": "other", "sha256": "c" * 64})
    other = replace(other, record=other.record.model_copy(update={"model": model}))
    write_latent(other, tmp_path / "d_latent.nii.gz")
    with pytest.raises(InputError, match=r"'other'.*one model"):
        LatentDataset([tmp_path / "a_latent.nii.gz", tmp_path / "d_latent.nii.gz"])


@pytest.mark.parametrize(
    "wishes",
    [{"size": (0, 4, 4)}, {"size": (4, 4)}, {"align": 0}, {"flip_axes": (3,)}],
)
def test_options_out_of_range_are_refused(folder, wishes):
    with pytest.raises(ConfigError):
        LatentDataset([folder], **wishes)


def test_a_constant_channel_is_centered(tmp_path):
    latent = _measured(latent_of(array=np.full((4, 3, 4, 5), 2.5, np.float32)))
    write_latent(latent, tmp_path / "a_latent.nii.gz", "float32")
    assert not LatentDataset([tmp_path])[0]["latent"].any()
