import pytest
import torch

from ct_vae.config.model import ModelConfig
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.vgg import VGG16
from ct_vae.models import build_untrained
from ct_vae.models.discriminator import PatchDiscriminator
from ct_vae.training.reporting.memory_estimate import Networks
from tests._small import SMALL_CODES, SMALL_MODEL

MODELS = {
    "kl": SMALL_MODEL,
    "attention": SMALL_MODEL.model_copy(update={"mid_attn": True}),
    "flat": SMALL_MODEL.model_copy(update={"spatial_dims": 2, "in_channels": 3, "out_channels": 3}),
    "vq": SMALL_CODES["vq"],
    "magvit": SMALL_CODES["magvit"],
}


def run_config(model: ModelConfig, side=16, **training) -> RunConfig:
    settings = TrainingConfig(patch_size=(side,) * model.spatial_dims, **training)
    return RunConfig(model=model, training=settings)


def kept_by_a_real_pass(model, forward) -> tuple[int, int]:
    """Bytes of all real storages that autograd keeps, and of the largest."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        forward()
    sizes = [s.nbytes() for s in kept.values()]
    return sum(sizes), max(sizes)


@pytest.mark.parametrize("name", MODELS)
def test_activations_are_what_a_real_pass_keeps(name):
    config = run_config(MODELS[name])
    model = build_untrained(config.model)
    image = torch.rand(2, config.model.in_channels, *config.patch_size, requires_grad=True)
    latent = [side // f for side, f in zip(config.patch_size, config.model.factor, strict=True)]
    code = torch.rand(2, config.model.latent_channels, *latent, requires_grad=True)
    total, largest = kept_by_a_real_pass(
        model, lambda: (model.features(image), model.decode_raw(code))
    )
    estimate = Networks(config).memory(2, 2)["activations"]
    # Kept along with them are small things, such as the statistics of norms.
    assert estimate == pytest.approx(total + 2 * largest, rel=0.02)


def test_a_discriminator_adds_what_it_keeps():
    plain = Networks(run_config(SMALL_MODEL))
    judged = Networks(run_config(SMALL_MODEL, adversarial_weight=0.1, discriminator_ch=4))
    judge = PatchDiscriminator(3, 1, 4, 3)
    assert plain.discriminator_parameters == 0
    assert judged.discriminator_parameters == sum(p.numel() for p in judge.parameters())
    image = torch.rand(1, 1, 16, 16, 16, requires_grad=True)
    kept, _ = kept_by_a_real_pass(judge, lambda: judge(image))
    more = judged.memory(1, 1)["activations"] - plain.memory(1, 1)["activations"]
    assert more == pytest.approx(kept, rel=0.02)


def test_a_heavy_discriminator_has_the_highest_turn():
    """It sees two images, when nothing of the autoencoder waits any more."""
    heavy = Networks(run_config(SMALL_MODEL, adversarial_weight=0.1, discriminator_ch=128))
    judge = PatchDiscriminator(3, 1, 128, 3)
    image = torch.rand(1, 1, 16, 16, 16, requires_grad=True)
    kept, largest = kept_by_a_real_pass(judge, lambda: judge(image))
    assert heavy.memory(1, 1)["activations"] == pytest.approx(2 * (kept + largest), rel=0.02)


def test_memory_follows_the_micro_batch_and_the_state_does_not():
    networks = Networks(run_config(SMALL_MODEL))
    one, two, four = (networks.memory(micro_batch, 4) for micro_batch in (1, 2, 4))
    each = two["activations"] - one["activations"]
    assert four["activations"] == one["activations"] + 3 * each
    # Left without any patch is the 4-wide kernel of the step up from 8 channels, made and turned.
    assert one["activations"] - each == 2 * 4 * 4**3 * 8 * 8
    weights = 4 * networks.parameters
    for memory in (one, four):
        assert memory["weights"] == memory["gradients"] == memory["average"] == weights
        assert memory["moments"] == 2 * weights
        assert memory["batch"] == 2 * 4 * 4 * 16**3
    assert Networks(run_config(SMALL_MODEL, ema_decay=0.0)).memory(1, 1)["average"] == 0


def test_checkpointing_saves_memory():
    saving = SMALL_MODEL.model_copy(update={"checkpointing": True})
    plain, less = (
        Networks(run_config(m)).memory(1, 1)["activations"] for m in (SMALL_MODEL, saving)
    )
    assert less < 0.7 * plain


def test_a_huge_run_is_counted_at_once_and_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    config = RunConfig(training=TrainingConfig(patch_size=(512,) * 3, adversarial_weight=0.1))
    assert Networks(config).memory(8, 8)["activations"] > 2**40
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("name", MODELS)
def test_lower_precision_keeps_what_a_real_pass_under_autocast_does(name):
    config = run_config(MODELS[name])
    model = build_untrained(config.model)
    image = torch.rand(2, config.model.in_channels, *config.patch_size, requires_grad=True)
    latent = [side // f for side, f in zip(config.patch_size, config.model.factor, strict=True)]
    code = torch.rand(2, config.model.latent_channels, *latent, requires_grad=True)

    def forward():
        with torch.autocast("cpu", torch.bfloat16):
            model.features(image)
            model.decode_raw(code)

    total, largest = kept_by_a_real_pass(model, forward)
    estimate, on_gpu, full = (
        Networks(config, *numbers).memory(2, 2)["activations"]
        for numbers in (("bf16", "cpu"), ("bf16", "cuda"), ("fp32", "cuda"))
    )
    # Attention keeps a little more in float32 on a CPU.
    assert estimate == pytest.approx(total + 2 * largest, rel=0.04)
    assert estimate <= on_gpu < full


@pytest.mark.parametrize(("norm", "most"), [("rms", 0.5), ("layer", 0.6), ("group", 0.6)])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_lower_precision_keeps_about_half(norm, most, device):
    """Convolutions alone in half precision would leave 0.93 (rms) and 0.91 (layer)."""
    config = run_config(ModelConfig(down_channels=(8, 16, 16), mid_attn=False, norm=norm))
    low, full = (
        Networks(config, precision, device).memory(2, 2)["activations"]
        for precision in ("bf16", "fp32")
    )
    assert low < most * full


def test_a_perceptual_network_adds_its_weights_and_what_it_keeps():
    settings = {"perceptual_weight": 0.1, "perceptual_weights_path": "vgg16.safetensors"}
    plain = Networks(run_config(SMALL_MODEL)).memory(2, 2)
    seeing = Networks(run_config(SMALL_MODEL, perceptual_share=0.1, **settings)).memory(2, 2)
    network = VGG16()
    weights = 4 * sum(p.numel() for p in network.parameters())
    assert (plain["perceptual network"], seeing["perceptual network"]) == (0, weights)
    images = [torch.rand(2, 1, 16, 16, 16, requires_grad=True) for _ in range(2)]
    distance = PerceptualDistance(network, (-1.0, 1.0), 0.1)
    kept, _ = kept_by_a_real_pass(network, lambda: distance(*images, 0))
    assert seeing["activations"] - plain["activations"] == pytest.approx(kept, rel=0.02)
