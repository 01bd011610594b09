import pytest
import torch
from torch import nn

from ct_vae.errors import ConfigError, InputError
from ct_vae.models.discriminator import PatchDiscriminator
from tests._asserts import assert_close
from tests.models._small import noise, randomise


def small(**numbers) -> PatchDiscriminator:
    discriminator = PatchDiscriminator(**({"base_ch": 8, "levels": 2} | numbers))
    randomise(discriminator)
    return discriminator


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_there_is_one_logit_per_patch_and_a_map_per_level(dims):
    judgement = small(spatial_dims=dims, in_channels=2)(noise(2, 2, *(16, 24, 8)[:dims]))
    sides = [tuple(n // 2**i for n in (16, 24, 8)[:dims]) for i in range(3)]
    assert judgement.logits.shape == (2, 1, *sides[-1])
    widths = (8, 16, 32)
    assert [f.shape for f in judgement.features] == [
        (2, width, *side) for width, side in zip(widths, sides, strict=True)
    ]


def test_below_zero_a_fifth_leaks_through_after_the_stem_and_every_norm():
    discriminator, x = small(spatial_dims=2), noise(2, 1, 16, 8)
    h = nn.functional.leaky_relu(discriminator.stem[0](x), 0.2)
    features = [h]
    for blur, conv, norm, _ in discriminator.levels:
        h = nn.functional.leaky_relu(norm(conv(blur(h))), 0.2)
        features.append(h)
    judgement = discriminator(x)
    assert_close(judgement.logits, discriminator.head(h), 1e-6)
    for result, expected in zip(judgement.features, features, strict=True):
        assert_close(result, expected, 1e-6)


def test_widths_stop_at_eight_times_the_first():
    judgement = small(spatial_dims=1, levels=5, base_ch=2)(noise(1, 1, 64))
    assert [f.shape[1] for f in judgement.features] == [2, 4, 8, 16, 16, 16]


def test_thick_slices_are_halved_less_often():
    discriminator = small(strides=[(2, 2, 1), 2])
    assert discriminator(noise(1, 1, 16, 16, 8)).logits.shape == (1, 1, 4, 4, 4)


@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("train", [True, False])
def test_an_image_is_judged_alone_and_always_alike(norm, train):
    discriminator = small(norm=norm).train(train)
    x = noise(3, 1, 8, 8, 8)
    together = discriminator(x)
    assert torch.equal(discriminator(x).logits, together.logits)
    alone = torch.cat([discriminator(x[i : i + 1]).logits for i in range(3)])
    assert_close(together.logits, alone, 1e-5)
    assert not dict(discriminator.named_buffers())


def test_an_instance_norm_takes_away_the_level_of_each_channel():
    level = small(norm="instance", spatial_dims=2).levels[0]
    normed = nn.functional.instance_norm(level[:2](noise(2, 8, 8, 8)))
    weight, bias = (p.view(1, -1, 1, 1) for p in (level[2].weight, level[2].bias))
    assert_close(level[:3](noise(2, 8, 8, 8)), normed * weight + bias, 1e-4)


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_two_remaining_voxels_can_be_judged_in_training_and_one_is_refused(norm):
    logits = small(norm=norm)(noise(1, 1, 8, 4, 4)).logits
    assert logits.isfinite().all()
    with pytest.raises(InputError, match="a single voxel is left"):
        small(norm=norm)(noise(1, 1, 4, 4, 7))


def test_logits_far_from_a_change_hardly_notice_it():
    """No pooling to one number: beyond the receptive field only the norms' averages change."""
    discriminator = small(spatial_dims=1, levels=2)
    for level in discriminator.levels:
        level[2] = nn.Identity()
    x = noise(1, 1, 128)
    changed = x.clone()
    changed[..., 64] += 1
    moved = (discriminator(changed).logits != discriminator(x).logits).flatten().nonzero()
    # A logit sees 30 voxels: blurs of 4 and convolutions of 3, at one, two and four voxels apart.
    assert 4 <= len(moved) <= 8
    assert (moved.min() * 4 - 64).abs() <= 16
    assert (moved.max() * 4 - 64).abs() <= 16


def test_moving_the_image_by_a_voxel_changes_blurred_maps_less():
    """What the blur is for (Zhang 2019): the same network with bare strides changes more."""
    discriminator = small(spatial_dims=2)
    x = nn.functional.avg_pool2d(noise(1, 1, 68, 68), 5, stride=1)
    shifts = {}
    for name in ("blurred", "bare"):
        if name == "bare":
            for level in discriminator.levels:
                level[0] = nn.AvgPool2d(1, stride=2)
        a, b = (discriminator(x[..., i : i + 60, :60]).logits[..., 2:-2, 2:-2] for i in (0, 1))
        shifts[name] = ((a - b).norm() / (a - a.mean()).norm()).item()
    assert shifts["blurred"] < 0.7 * shifts["bare"]


def test_every_weight_gets_a_gradient():
    discriminator = small()
    discriminator(noise(1, 1, 8, 8, 8)).logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in discriminator.parameters())


def test_the_gradient_penalty_can_be_taken():
    """R1 needs a second derivative."""
    discriminator = small()
    x = noise(1, 1, 8, 8, 8).requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(x).logits.sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert discriminator.stem[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"levels": 0}, "at least 1 level"),
        ({"levels": 2, "strides": (2, 2, 2)}, "strides for each"),
        ({"strides": (2, 3)}, "stride of 1 or 2"),
        ({"strides": (2, 1)}, "change no side"),
        ({"norm": "batch"}, "group or instance, got 'batch'"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        small(**numbers)


@pytest.mark.parametrize("shape", [(1, 2, 8, 8, 8), (1,), (1, 1, 8, 8, 2)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(InputError, match=r"got shape|too short"):
        small()(torch.zeros(shape))
