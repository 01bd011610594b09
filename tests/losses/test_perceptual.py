import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.vgg import VGG16
from tests.losses._pairs import pair
from tests.losses._vgg import random_vgg16


@pytest.fixture(scope="module")
def network() -> VGG16:
    network = random_vgg16()
    for i, weights in enumerate(network.lin):
        weights.uniform_(generator=torch.Generator().manual_seed(i))
    return network


def lpips(network, a, b):
    """Zhang et al. 2018, eq. 1, of gray images ``(N, H, W)`` in [0, 1], without any guard."""
    features = [network(x[:, None].expand(-1, 3, -1, -1)) for x in (a, b)]
    total = 0.0
    for *maps, weights in zip(*features, network.lin, strict=True):
        p, q = (f.numpy() / np.linalg.norm(f.numpy(), axis=1, keepdims=True) for f in maps)
        total += (weights.numpy()[:, None, None] * (p - q) ** 2).sum(1).mean()
    return total


def test_on_a_flat_image_it_is_the_published_distance(network):
    a, b = pair(20, 18)
    distance = PerceptualDistance(network, (-1.0, 1.0), 0.2)(2 * a - 1, 2 * b - 1, 0)
    assert distance.item() == pytest.approx(lpips(network, a[:, 0], b[:, 0]), rel=2e-3)


def test_with_all_slices_it_is_the_mean_over_the_axes(network):
    a, b = pair(16, 17, 18, batch=1)
    distance = PerceptualDistance(network, (0.0, 1.0), 1.0)(a, b, 0)
    axes = [lpips(network, *(x[0, 0].movedim(i, 0) for x in (a, b))) for i in range(3)]
    assert distance.item() == pytest.approx(np.mean(axes), rel=2e-3)


def test_three_channels_are_colors_and_others_are_gray(network):
    a, b = pair(16, 16, channels=2)
    measure = PerceptualDistance(network, (0.0, 1.0), 1.0)
    each = [measure(a[:, i : i + 1], b[:, i : i + 1], 0) for i in range(2)]
    torch.testing.assert_close(measure(a, b, 0), torch.stack(each).mean())
    copies = [x[:, :1].expand(-1, 3, -1, -1) for x in (a, b)]
    torch.testing.assert_close(measure(*copies, 0), each[0])


class Watch(VGG16):
    """Counts slices instead of looking at them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x):
        self.seen.append(x[:, 0, 0, 0])
        return [x[:, :1]] * 5


@pytest.mark.parametrize(("share", "taken"), [(0.2, 4), (0.01, 1), (1.0, 20)])
def test_a_share_of_the_slices_along_each_axis_is_seen(share, taken):
    watch, (a, b) = Watch(), pair(20, 20, 20, batch=1)
    watch.lin = torch.nn.ParameterList([torch.ones(1)] * 5)
    PerceptualDistance(watch, (0.0, 1.0), share)(a, b, 7)
    assert [len(x) for x in watch.seen] == [taken] * 6
    assert all(len(x.unique()) == taken for x in watch.seen)


def test_slices_are_a_function_of_the_place_in_the_run(network):
    a, b = pair(16, 16, 16, batch=1)
    measure = PerceptualDistance(network, (0.0, 1.0), 0.1)
    torch.manual_seed(1)
    first = measure(a, b, 4)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    assert torch.equal(measure(a, b, 4), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len({measure(a, b, place).item() for place in range(0, 12, 4)}) == 3


def test_in_time_every_slice_is_seen():
    watch = Watch()
    watch.lin = torch.nn.ParameterList([torch.ones(1)] * 5)
    measure = PerceptualDistance(watch, (0.0, 1.0), 0.1)
    a = torch.arange(20.0).view(1, 1, 20, 1, 1).expand(-1, -1, -1, 20, 20)
    for place in range(0, 100, 2):
        measure(a, a, place)
    # Every sixth look is along the first axis, of the image and of the target.
    seen = torch.cat(watch.seen[::6])
    assert len(seen.unique()) == 20


def test_equal_images_have_no_distance_and_no_slope(network):
    a = pair(16, 16)[0].requires_grad_()
    distance = PerceptualDistance(network, (0.0, 1.0), 1.0)(a, a.detach(), 0)
    distance.backward()
    assert distance.item() == 0
    assert a.grad.abs().max() == 0


@pytest.mark.parametrize("bias", [0.0, -10.0])
@pytest.mark.parametrize("level", [0.0, 0.449, 1.0])
def test_air_gives_no_nan_and_no_steep_slope(bias, level):
    """Without biases a constant image near the mean has features of about nothing."""
    network = random_vgg16()
    for name, parameter in network.features.named_parameters():
        if name.endswith("bias"):
            parameter.fill_(bias)
    air = torch.full((1, 1, 16, 16, 16), level)
    noisy = (air + 1e-3 * pair(16, 16, 16, batch=1)[0]).requires_grad_()
    distance = PerceptualDistance(network, (0.0, 1.0), 0.2)(noisy, air, 0)
    distance.backward()
    assert distance.isfinite()
    assert noisy.grad.isfinite().all()
    assert noisy.grad.norm() < 1


@pytest.mark.parametrize("noise_level", [1e-3, 1e-4])
def test_noise_on_what_has_no_features_has_a_bounded_slope(noise_level):
    """Directions of almost nothing are as far apart as those of different organs."""
    network = random_vgg16()
    network.mean.zero_()
    for name, parameter in network.features.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    a, b = (noise_level * pair(16, 16)).requires_grad_()
    distance = PerceptualDistance(network, (0.0, 1.0), 1.0)(a, b.detach(), 0)
    (slope,) = torch.autograd.grad(distance, a)
    # A norm of 0.1 bounds the slope by 10 times that of the features; without, it is 98 and 978.
    assert slope.norm() < 10
    assert distance < 100 * noise_level


def test_the_gradient_is_that_of_finite_differences(network):
    a, b = pair(16, 16, batch=1).double()
    measure = PerceptualDistance(random_vgg16().double(), (0.0, 1.0), 1.0)
    assert torch.autograd.gradcheck(
        lambda x: measure(x, b, 0), a.requires_grad_(), fast_mode=True, atol=1e-6
    )


def test_under_autocast_it_is_that_of_float32(network):
    a, b = pair(16, 16).bfloat16()
    measure = PerceptualDistance(network, (0.0, 1.0), 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = measure(a, b, 0)
    assert low.dtype == torch.float32
    assert torch.equal(low, measure(a.float(), b.float(), 0))


def test_a_line_has_no_slices(network):
    with pytest.raises(InputError, match="2-D or 3-D"):
        PerceptualDistance(network, (0.0, 1.0), 1.0)(*pair(32), 0)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_a_share_out_of_range_is_refused(network, share):
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        PerceptualDistance(network, (0.0, 1.0), share)
