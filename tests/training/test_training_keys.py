"""Every key of section `training` changes what its description says, and nothing needs it."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ct_vae.config.load import parse_config
from ct_vae.config.training import TrainingConfig
from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.losses import vgg
from ct_vae.models.weights import load_weights
from ct_vae.training import train
from ct_vae.training.checkpoints.checkpoint import newest_checkpoint
from ct_vae.training.initial import initial_model
from tests._small import ct_volume

MODEL = {"down_channels": [4, 8], "num_res_blocks": 1, "mid_attn": False, "norm_groups": 2}
MODEL_TREE = {
    "model": {**MODEL, "spatial_dims": 2},
    "training": {"patch_size": [8, 8]},
}
BASE = {
    "samples": 8,
    "batch_size": 2,
    "lr": 1e-2,
    "warmup_samples": 0,
    "log_every": 2,
    "save_every": 4,
    "ema_samples": 0,
    "kl_weight": 0.01,
}
GAN = {
    "adversarial_weight": 0.5,
    "adversarial_start_samples": 0,
    "adversarial_ramp_samples": 0,
    "discriminator_ch": 4,
    "discriminator_levels": 2,
}


class Images(torch.utils.data.Dataset):
    """Soft tissue and lung with noise; remembers in a file which processes read it."""

    def __init__(self, *sides, log=None):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(6, 1, *sides, generator=generator)
        self.items = torch.where(noise > 0, 40.0, -700.0) + 150 * noise
        self.log = log

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()}\n")
        return self.items[index]


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    folder: Any
    told: str

    @property
    def lines(self):
        text = (self.folder / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    @property
    def steps(self):
        return [line for line in self.lines if "loss" in line]

    def column(self, name):
        return [line.get(name) for line in self.steps]

    @property
    def validations(self):
        return [line["samples_seen"] for line in self.lines if "val_rmse_hu_full" in line]

    @property
    def saved(self):
        return load_weights(self.folder)

    @property
    def state(self):
        return newest_checkpoint(self.folder, pytest.fail).tensors


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def trains_otherwise(a, b):
    return not same(a.saved, b.saved) and a.saved.keys() == b.saved.keys()


def term(name):
    def has_term(a, b):
        return not any(a.column(name)) and any(b.column(name)) and trains_otherwise(a, b)

    return has_term


def column_differs(name):
    return lambda a, b: a.column(name) != b.column(name) and trains_otherwise(a, b)


def lr_differs(a, b):
    return a.column("lr") != b.column("lr")


def judges_otherwise(a, b):
    keys = [k for k in a.state if k.startswith("discriminator.module")]
    return any(not torch.equal(a.state[k], b.state.get(k, torch.zeros(0))) for k in keys)


def average_alone_differs(a, b):
    raw = [{k: v for k, v in o.state.items() if k.startswith("generator")} for o in (a, b)]
    return same(*raw) and not same(a.saved, b.saved)


@dataclass(frozen=True)
class Row:
    """A value, what else a run needs for it to matter, and what must differ."""

    value: Any
    differs: Any = trains_otherwise
    base: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    dims: int = 2
    side: int = 8
    volumes: bool = False


VQ, LFQ = {"latent_type": "vq", "codebook_size": 16}, {"latent_type": "magvit", "quantizer": "lfq"}
SEEN = {"perceptual_weight": 1.0, "perceptual_weights_path": "a.safetensors"}
ROWS = {
    "recon_type": Row("mse"),
    "focal_gamma": Row(4.0, base={"recon_type": "bce_focal"}),
    "charbonnier_eps": Row(0.5, base={"recon_type": "charbonnier"}),
    "window_weights": Row({"lung": 1.0}, term("window_lung")),
    "face_weight": Row(4.0, model={"patch_size": 4}),
    "gradient_weight": Row(1.0, term("gradient")),
    "kl_weight": Row(1.0, column_differs("kl_weight")),
    "kl_reduction": Row("sum", lambda a, b: b.column("kl")[0] > 10 * a.column("kl")[0]),
    "kl_anneal_samples": Row(8, lambda a, b: b.column("kl_weight")[0] < a.column("kl_weight")[0]),
    "equivariance_weight": Row(1.0, term("equivariance")),
    "commitment_weight": Row(2.0, column_differs("commitment_weight"), model=VQ),
    "entropy_weight": Row(2.0, column_differs("entropy_weight"), model=LFQ),
    "perceptual_weight": Row(1.0, term("perceptual"), SEEN | {"perceptual_weight": 0.0}, side=16),
    "perceptual_weights_path": Row("b.safetensors", base=SEEN, side=16),
    "perceptual_share": Row(1.0, base=SEEN, dims=3, side=16),
    "adversarial_weight": Row(0.5, term("adversarial"), GAN | {"adversarial_weight": 0.0}),
    "adversarial_loss": Row("least_squares", base=GAN),
    "adversarial_start_samples": Row(
        4, lambda a, b: all(a.column("d_real")) and b.column("d_real")[:2] == [None, None], GAN
    ),
    "discriminator_alone_samples": Row(
        4,
        lambda a, b: (
            all(b.column("d_real"))
            and [bool(w) for w in b.column("adversarial_weight")] == [False, False, True, True]
        ),
        GAN,
    ),
    "adversarial_ramp_samples": Row(
        100,
        lambda a, b: b.column("adversarial_weight")[1] < a.column("adversarial_weight")[1],
        GAN | {"adversarial_adaptive": False},
    ),
    "adversarial_adaptive": Row(False, column_differs("adversarial_weight"), GAN),
    "adversarial_adaptive_limit": Row(
        1e-3, lambda a, b: max(b.column("adversarial_weight")) <= 1e-3 * 0.5 * 1.001, GAN
    ),
    "feature_matching_weight": Row(1.0, term("feature_matching"), GAN),
    "r1_weight": Row(
        1.0, lambda a, b: any(b.column("r1")) and not any(a.column("r1")), GAN | {"r1_every": 1}
    ),
    "r1_every": Row(
        2,
        lambda a, b: b.column("r1").count(None) > a.column("r1").count(None) == 0,
        GAN | {"r1_weight": 1.0, "r1_every": 1},
    ),
    "lecam_weight": Row(1.0, lambda a, b: any(b.column("lecam")) and judges_otherwise(a, b), GAN),
    "discriminator_ch": Row(8, judges_otherwise, GAN),
    "discriminator_levels": Row(
        1, lambda a, b: len(b.state) < len(a.state), GAN | {"discriminator_levels": 2}
    ),
    "discriminator_norm": Row("instance", base=GAN | {"discriminator_ch": 32}),
    "seed": Row(1),
    "samples": Row(12, lambda a, b: (a.validations[-1], b.validations[-1]) == (8, 12)),
    "stop_after": Row(4, lambda a, b: b.validations == a.validations[:1]),
    "batch_size": Row(4, lambda a, b: len(b.steps) == len(a.steps) / 2),
    "micro_batch_size": Row(
        1, lambda a, b: "2 patches, " in a.told and "2 patches: 2 micro-batches of 1" in b.told
    ),
    "precision": Row("bf16", lambda a, b: "computed in bf16" in b.told and trains_otherwise(a, b)),
    "patch_size": Row(
        [16, 8, 8], lambda a, b: "16 x 8 x 8 voxels" in card(b), dims=3, volumes=True
    ),
    "foreground_share": Row(0.0, base={"foreground_share": 1.0}, dims=3, volumes=True),
    "latent_noise": Row(0.5),
    "latent_noise_type": Row("gaussian", base={"latent_noise": 0.5}),
    "nested_channels": Row([1, 4]),
    "lr": Row(1e-3, lr_differs),
    "betas": Row([0.5, 0.9]),
    "weight_decay": Row(0.5),
    "encoder_lr": Row(1e-30, lambda a, b: side_stands(b, "encoder.", "decoder.")),
    "decoder_lr": Row(1e-30, lambda a, b: side_stands(b, "decoder.", "encoder.")),
    "discriminator_lr": Row(1e-4, judges_otherwise, GAN),
    "schedule": Row("constant", lr_differs),
    "lr_decay": Row(0.1, lr_differs, {"schedule": "step", "lr_decay_samples": 4}),
    "lr_decay_samples": Row(2, lr_differs, {"schedule": "step", "lr_decay_samples": 4}),
    "warmup_samples": Row(6, lambda a, b: b.column("lr")[0] < a.column("lr")[0]),
    "grad_clip": Row(1e-6, base={"grad_clip": None}),
    "ema_samples": Row(1000, average_alone_differs),
    "ema_decay": Row(0.9, average_alone_differs),
    "log_every": Row(4, lambda a, b: len(b.steps) == len(a.steps) / 2),
    "save_every": Row(8, lambda a, b: (a.validations, b.validations) == ([4, 8], [8])),
    "checkpoint_every": Row(2, lambda a, b: (checkpoints(a), checkpoints(b)) == ([4, 8], [6, 8])),
}
# Their own tests are below, those of compile and augment_on_device in tests/training/device.
APART = {
    "output_dir", "workers", "reg_type", "trunk_from", "freeze", "best_by", "patience",
    "most_skipped", "tracker", "compile", "augment_on_device",
}  # fmt: skip


def side_stands(outcome, still, moving):
    """Tell whether one side of the network kept its first weights and the other one did not."""
    first = initial_model(parse_config(MODEL_TREE, "test").model, 0).state_dict()
    kept = {k: torch.allclose(v, first[k], atol=1e-12) for k, v in outcome.saved.items()}
    return all(v for k, v in kept.items() if k.startswith(still)) and not all(
        v for k, v in kept.items() if k.startswith(moving)
    )


def card(outcome):
    return (outcome.folder / "MODEL_CARD.md").read_text()


def checkpoints(outcome):
    return sorted(int(p.name.split("-")[1]) for p in (outcome.folder / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def known():
    """Outcomes of runs without changes, by what they were told."""
    return {}


@pytest.fixture
def unchanged(run, known, tmp_path_factory):
    """The outcome of a row without its change; runs that are alike are run once."""

    def find(row):
        told = repr((row.base, row.model, row.dims, row.side, row.volumes))
        if told not in known:
            known[told] = run(row, {}, str(tmp_path_factory.mktemp("before") / "run"))
        return known[told]

    return find


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Trains with changes to the small configuration; gives the outcome."""
    # A network of the same form, and a thousandth of its size.
    monkeypatch.setattr(vgg, "_STAGES", ((4,), (4,), (4,), (4,), (4,)))
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        save_file(vgg.VGG16().state_dict(), f"{name}.safetensors")

    def begin(row, changes, name, data=None):
        side = [row.side] * row.dims
        tree = {
            "model": {**MODEL, "spatial_dims": row.dims, **row.model},
            "training": {
                "output_dir": name,
                "patch_size": side,
                **BASE,
                **row.base,
                **changes,
            },
        }
        if tree["training"].get("recon_type", "").startswith("bce"):
            tree["preprocess"] = {"model_range": [0, 1]}
        if data is None:
            volumes = [ct_volume((24, 20, 18), seed=n) for n in range(2)]
            data = volumes if row.volumes else Images(*side)
        capsys.readouterr()
        folder = train(data, parse_config(tree, "test"), Images(*side))
        return Outcome(folder, capsys.readouterr().err)

    return begin


def test_the_tables_hold_every_key():
    assert ROWS.keys() | APART == TrainingConfig.model_fields.keys()
    assert not ROWS.keys() & APART


@pytest.mark.slow
@pytest.mark.parametrize("key", ROWS)
def test_a_key_changes_what_it_says(run, unchanged, key):
    row = ROWS[key]
    assert row.differs(unchanged(row), run(row, {key: row.value}, "after"))


def test_the_folder_is_the_one_that_is_named(run, tmp_path):
    run(Row(None), {"output_dir": "elsewhere"}, "unused")
    assert (tmp_path / "elsewhere" / "model.safetensors").is_file()
    assert not (tmp_path / "unused").exists()


def test_workers_read_the_data_and_change_no_result(run, tmp_path):
    data = Images(8, 8, log=tmp_path / "pids")
    alone = run(Row(None), {}, "alone", data)
    assert set((tmp_path / "pids").read_text().split()) == {str(os.getpid())}
    helped = run(Row(None), {"workers": 2}, "helped", data)
    assert len(set((tmp_path / "pids").read_text().split())) == 3
    assert same(alone.saved, helped.saved)


def test_a_reg_type_is_checked(run):
    with pytest.raises(ConfigError, match="reg_type 'vq' contradicts"):
        run(Row(None), {"reg_type": "vq"}, "run")


def test_blocks_and_frozen_encoders_come_from_other_models(run):
    first = run(Row(None), {}, "first")
    still = {"lr": 1e-30}
    grown = run(Row(None), {**still, "trunk_from": str(first.folder)}, "grown").saved
    new = run(Row(None), still, "new").saved
    trunk = [k for k in grown if k.startswith("encoder.down.")]
    assert all(torch.equal(grown[k], first.saved[k]) for k in trunk)
    assert not all(torch.equal(grown[k], new[k]) for k in trunk)
    tuned = Row(None, model={"ckpt_path": str(first.folder)})
    frozen, free = (run(tuned, {"freeze": f}, f"{f}").saved for f in ("encoder", None))
    encoder = [k for k in frozen if k.startswith("encoder.")]
    assert all(torch.equal(frozen[k], first.saved[k]) for k in encoder)
    assert not all(torch.equal(free[k], first.saved[k]) for k in encoder)


@pytest.fixture
def validations(monkeypatch):
    """Validations that get better in RMSE and worse in SSIM, or the other way round."""

    def begin(sign):
        count = iter(range(1, 99))

        def summary(_):
            number = next(count)
            return {
                "val_rmse_hu_full": 100.0 - sign * number,
                "val_ssim_full": 0.5 - sign * number / 100,
            }

        monkeypatch.setattr("ct_vae.training.run.summarize", summary)

    return begin


def test_the_best_model_is_chosen_by_its_metric(run, validations):
    for name, metric, expected in (("a", "val_rmse_hu_full", 8), ("b", "val_ssim_full", 4)):
        validations(1)
        outcome = run(Row(None), {"best_by": metric}, name)
        best = json.loads((outcome.folder / "best" / "config.json").read_text())
        assert best["samples_seen"] == expected


def test_patience_ends_a_run(run, validations):
    validations(-1)
    outcome = run(Row(None), {"samples": 40, "patience": 2}, "run")
    assert outcome.validations == [4, 8, 12]


def test_a_run_stops_after_as_many_skipped_steps(run):
    data = [torch.full((1, 8, 8), torch.nan)] * 4
    with pytest.raises(CtVaeError, match="3 steps in a row were not finite"):
        run(Row(None), {"most_skipped": 3, "save_every": 100}, "run", data)


def test_a_tracker_is_looked_for(run):
    with pytest.raises(ConfigError, match="nowhere"):
        run(Row(None), {"tracker": "nowhere"}, "run")
