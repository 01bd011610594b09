"""Encoding and decoding on a GPU: as exact as on the CPU, and within the planned memory."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from ct_vae.config.model import ModelConfig
from ct_vae.inference.codec import load_codec
from ct_vae.inference.execution_plan import plan_execution
from ct_vae.inference.precision import check_precision, computing_in
from ct_vae.inference.tiling import Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter
from ct_vae.models import build_untrained
from ct_vae.phantoms.make_phantom import make_phantom
from tests._asserts import assert_close
from tests._small import SMALL_CODES, SMALL_MODEL, ct_volume, small_codec
from tests.inference._exact import MODELS, given, halves, run, tiny

pytestmark = pytest.mark.gpu
SLICE = 4 * 16 * 16 * 4
KINDS = {"kl": SMALL_MODEL, **SMALL_CODES}


@pytest.fixture(autouse=True)
def full_precision(gpu):
    """Without TensorFloat-32, also where a test calls no codec."""
    with torch.inference_mode(), computing_in("fp32", gpu):
        yield


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("decodes", [False, True])
def test_slabs_give_the_result_of_the_whole_volume_on_the_cpu(gpu, name, decodes):
    model = tiny(name, torch.float32)
    x = given(model, (24, 16, 16), decodes, torch.float32)
    whole = halves(model)[decodes](x)
    model.to(gpu)
    assert_close(run(halves(model)[decodes], x, 2 * SLICE, device=gpu), whole, 1e-5)


@pytest.mark.parametrize("kind", ["device", "host", "disk"])
def test_the_place_of_buffers_does_not_change_the_result(gpu, kind):
    """Buffers on the host are pinned, and files are read through pinned memory."""
    model = tiny("kl group attention", torch.float32)
    x = given(model, (24, 16, 16), True, torch.float32)
    whole = halves(model)[True](x)
    model.to(gpu)
    cuts = frozenset({3, 7})
    assert_close(run(halves(model)[True], x, SLICE, kind, cuts, gpu), whole, 1e-5)


@pytest.mark.parametrize("tiling", ["exact", "blend", "whole"])
def test_a_codec_gives_the_result_of_the_cpu(gpu, tiling):
    volume, (here, there) = ct_volume((29, 22, 19)), (small_codec(), small_codec())
    there.network.model.to(gpu)
    for codec in (here, there):
        codec.tiling = Tiling(tiling, tile=8, overlap=0.5)
    expected, found = (codec.encode(volume) for codec in (here, there))
    error = np.linalg.norm(found.array - expected.array) / np.linalg.norm(expected.array)
    assert error < 1e-5
    decoded = here.decode(expected).voxels, there.decode(expected).voxels
    assert np.linalg.norm(decoded[1] - decoded[0]) / np.linalg.norm(decoded[0]) < 1e-5
    assert np.abs(there.decode(expected, whole_hu=True).voxels - decoded[0]).max() < 0.51


@pytest.mark.parametrize("kind", SMALL_CODES)
def test_codes_of_a_codec_are_those_of_the_cpu(gpu, kind):
    """A value halfway between two codes may be rounded to either."""
    volume, (here, there) = ct_volume(), (small_codec(base=KINDS[kind]) for _ in range(2))
    there.network.model.to(gpu)
    assert (here.encode(volume).array != there.encode(volume).array).mean() < 0.01


def test_tiles_are_computed_in_batches_where_they_are_added_or_not(gpu):
    """Sums on the device and on the host, one tile or several at once."""
    network = small_codec().network
    network.model.to(gpu)
    x = torch.randn(1, 4, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    results = []
    for batch, stitching in ((1, gpu), (5, gpu), (5, torch.device("cpu"))):
        plan = plan_execution(network, "decode", Tiling("blend", 8, 0.5, batch=batch), (24, 20, 16))
        assert plan.blending.batch == batch
        object.__setattr__(plan.blending, "stitching", stitching)
        results.append(plan(x))
    for result in results[1:]:
        assert_close(result, results[0], 1e-5)


def test_the_default_model_encodes_and_decodes(gpu):
    volume = make_phantom("head", seed=0, spacing_mm=4.0)
    here, there = load_codec("ct-f4", "cpu"), load_codec("ct-f4", str(gpu))
    expected, found = here.encode(volume, posterior=True), there.encode(volume, posterior=True)
    assert np.linalg.norm(found.array - expected.array) / np.linalg.norm(expected.array) < 1e-5
    assert np.abs(there.decode(found).voxels - here.decode(expected).voxels).max() < 0.1


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_lower_precisions_are_close_and_recorded(gpu, is_cuda, precision):
    if not is_cuda:
        pytest.skip("processors have neither")
    check_precision(precision, gpu)
    codec, volume = load_codec("ct-f4", str(gpu)), make_phantom("head", seed=0, spacing_mm=4.0)
    exact = codec.encode(volume)
    codec.precision = precision
    latent = codec.encode(volume)
    assert latent.record.precision == precision
    error = np.linalg.norm(latent.array - exact.array) / np.linalg.norm(exact.array)
    assert 1e-7 < error < (5e-3 if precision == "tf32" else 5e-2)
    difference = codec.decode(exact).voxels - load_codec("ct-f4", str(gpu)).decode(exact).voxels
    assert np.sqrt(np.square(difference).mean()) < 10


@contextmanager
def fraction_of_memory(device, fraction):
    """Limit what PyTorch may allocate on a GPU, which plans do not know."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(fraction, device)
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0, device)


def decoder_input(sides):
    return torch.randn(1, 4, *(n // 4 for n in sides), generator=torch.Generator().manual_seed(0))


def adapter(gpu, norm="group"):
    config = ModelConfig(down_channels=(16, 32, 64), num_res_blocks=2, norm=norm, mid_attn=False)
    torch.manual_seed(0)
    return VolumeAdapter(build_untrained(config).eval().to(gpu))


@pytest.mark.parametrize("norm", ["group", "rms"])
@pytest.mark.parametrize("half", ["encode", "decode"])
def test_a_limit_of_memory_holds(gpu, is_cuda, norm, half):
    network, sides = adapter(gpu, norm), (256, 256, 128) if is_cuda else (16, 16, 16)
    x = (
        torch.rand(1, 1, *sides)
        if half == "encode"
        else torch.randn(1, 4, *(n // 4 for n in sides))
    )
    free = plan_execution(network, half, Tiling(), sides)(x)
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(gpu)
    limited = plan_execution(network, half, Tiling(max_memory_gb=1.0), sides)
    assert_close(limited(x), free, 1e-5)
    if is_cuda:
        assert torch.cuda.max_memory_allocated(gpu) <= 1.05 * 2**30, limited.describe()


def test_slabs_are_halved_if_the_memory_is_smaller_than_planned(gpu, is_cuda):
    network, sides = adapter(gpu), (256, 256, 128) if is_cuda else (16, 16, 16)
    x = decoder_input(sides)
    expected = plan_execution(network, "decode", Tiling(), sides)(x)
    plan = plan_execution(network, "decode", Tiling(), sides)
    total = torch.cuda.get_device_properties(gpu).total_memory if is_cuda else 1
    with fraction_of_memory(gpu, 2**30 / total):
        found = plan(x)
    assert_close(found, expected, 1e-5)
    assert not is_cuda or "halved" in plan.warnings[0]


def test_what_does_not_fit_runs_on_the_cpu_where_that_is_allowed(gpu, is_cuda):
    codec, volume = (
        small_codec(Tiling("whole")),
        ct_volume((64, 64, 64) if is_cuda else (16, 16, 16)),
    )
    expected = codec.encode(volume).array
    codec.network.model.to(gpu)
    codec.fallback = "cpu"
    total = torch.cuda.get_device_properties(gpu).total_memory if is_cuda else 1
    with fraction_of_memory(gpu, 2**24 / total):
        latent = codec.encode(volume)
    np.testing.assert_allclose(latent.array, expected, rtol=1e-4, atol=1e-5)
    assert codec.network.device.type == gpu.type
    assert not is_cuda or "ran on the CPU" in latent.record.warnings[0]
