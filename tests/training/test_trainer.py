import json
import shutil
import time
from unittest.mock import Mock, call

import numpy as np
import pytest
import torch

from ct_vae.config.load import parse_config
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.errors import ConfigError, InputError, WeightsError
from ct_vae.inference.codec import load_codec
from ct_vae.io import write_volume
from ct_vae.models.model_folder import load_model_folder
from ct_vae.training import run, train
from ct_vae.training.data.loader import stack_images
from tests._asserts import assert_only_files
from tests._forked import begin_training
from tests._small import SMALL_MODEL, ct_volume

RUN_FILES = {
    "config.json",
    "model.safetensors",
    "MODEL_CARD.md",
    "SHA256SUMS",
    "metrics.jsonl",
    "train_config.json",
    "progress.png",
    ".lock",
}


def checkpoint_files(*clock):
    names = ("state.safetensors", "state.json", "manifest.json")
    return {f"checkpoints/samples-{n:012d}/{name}" for n in clock for name in names}


def picture_files(*clock):
    return {"validation.png"} | {f"validation/samples-{n:09}.png" for n in clock}


def config(folder, **changes):
    settings = {
        "output_dir": str(folder),
        "samples": 8,
        "batch_size": 2,
        "patch_size": (8, 8, 8),
        "lr": 1e-3,
        "warmup_samples": 2,
        "log_every": 4,
        "save_every": 4,
        "ema_decay": 0.5,
        **changes,
    }
    return RunConfig(model=SMALL_MODEL, training=TrainingConfig(**settings))


def patches(count=5, seed=0):
    rng = np.random.default_rng(seed)
    return [
        torch.from_numpy(rng.normal(0, 200, (1, 8, 8, 8)).astype(np.float32)) for _ in range(count)
    ]


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_becomes_a_model_folder(pictured, tmp_path):
    folder = train(patches(), config(tmp_path / "run"), [ct_volume()], name="tiny")
    assert folder == tmp_path / "run"
    model_files = {"config.json", "model.safetensors", "MODEL_CARD.md", "SHA256SUMS"}
    best = {f"best/{name}" for name in model_files}
    assert_only_files(folder, RUN_FILES | best | checkpoint_files(4, 8) | picture_files(4, 8))
    loaded = load_model_folder(folder)
    assert loaded.config.name == "tiny"
    assert loaded.config.samples_seen == 8
    assert len(loaded.config.latent.mean) == 4
    assert loaded.model.scaling_factor == loaded.config.latent.scaling_factor != 0.18215
    assert load_codec(folder).encode(ct_volume()).array.shape == (4, 4, 3, 3)


def test_metrics_have_one_clock_and_both_kinds_of_lines(tmp_path):
    lines = metrics(train(patches(), config(tmp_path), [ct_volume()]))
    steps = [line for line in lines if "loss" in line]
    validations = [line for line in lines if "val_rmse_hu_full" in line]
    assert [line["samples_seen"] for line in steps] == [4, 8]
    assert [line["samples_seen"] for line in validations] == [4, 8]
    for line in steps:
        total = line["reconstruction"] + line["kl_weight"] * line["kl"]
        assert line["loss"] == pytest.approx(total)


def test_the_same_run_twice_gives_the_same_weights(tmp_path):
    first, again, other = (
        load_model_folder(train(patches(), config(tmp_path / name, seed=seed))).sha256
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    states = [load_model_folder(tmp_path / n).model.state_dict() for n in "abc"]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0])
    assert first != other
    assert len({first, again, other}) <= 3


def test_a_frozen_encoder_keeps_its_latents_and_the_decoder_learns(tmp_path):
    """Latents made before decode with the fine-tuned model, and the other way round."""
    first = train(patches(), config(tmp_path / "first"))
    plain = config(tmp_path / "tuned")
    settings = RunConfig(
        model=SMALL_MODEL.model_copy(update={"ckpt_path": str(first)}),
        training=plain.training.model_copy(update={"freeze": "encoder"}),
    )
    tuned = train(patches(seed=1), settings)
    before, after = load_model_folder(first), load_model_folder(tuned)
    assert before.encoder_sha256 == after.encoder_sha256
    assert before.sha256 != after.sha256
    changed = {
        name.split(".")[0]
        for name, tensor in before.model.state_dict().items()
        if not torch.equal(tensor, after.model.state_dict()[name])
    }
    assert changed == {"decoder", "post_quant_conv"}
    old, new = load_codec(first), load_codec(tuned)
    latent = old.encode(ct_volume())
    assert np.abs(new.decode(latent).voxels - old.decode(latent).voxels).max() > 0
    old.decode(new.encode(ct_volume()))
    with pytest.raises(InputError, match="was made by model"):
        load_codec(train(patches(), config(tmp_path / "other", seed=1))).decode(latent)


def test_a_run_that_stops_early_is_the_longer_run_up_to_there(tmp_path):
    """Learning rate and data are those of the whole length, and --resume goes on to its end."""
    whole = train(patches(), config(tmp_path / "whole"))
    early = train(patches(), config(tmp_path / "early", stop_after=4))
    assert load_model_folder(early).config.samples_seen == 4
    lines = {line["samples_seen"]: line for line in metrics(whole) if "loss" in line}
    (first,) = (line for line in metrics(early) if "loss" in line)
    assert first == lines[4]
    gone_on = train(patches(), config(tmp_path / "early"), resume=True)
    states = [load_model_folder(folder).model.state_dict() for folder in (whole, gone_on)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_an_encoder_without_weights_cannot_be_frozen(tmp_path):
    with pytest.raises(ValueError, match=r"needs model\.ckpt_path"):
        config(tmp_path, freeze="encoder")


def test_training_lowers_the_loss(tmp_path):
    """A smooth image that the small model can learn, in seconds."""
    x = torch.linspace(-500, 500, 8)
    smooth = [(x[:, None, None] + x[None, :, None] * s).expand(8, 8, 8)[None] for s in (-1, 0, 1)]
    lines = metrics(
        train(smooth, config(tmp_path, samples=200, log_every=20, save_every=200, lr=3e-3))
    )
    losses = [line["reconstruction"] for line in lines if "loss" in line]
    assert losses[-1] < 0.6 * losses[0]


def test_what_is_saved_is_the_average_of_the_weights(tmp_path):
    plain = train(patches(), config(tmp_path / "plain", ema_decay=0.0))
    slow = train(patches(), config(tmp_path / "slow", ema_decay=0.9))
    a, b = (load_model_folder(folder).model.state_dict() for folder in (plain, slow))
    assert any(not torch.equal(a[k], b[k]) for k in a)


def test_the_callers_random_state_is_left_alone(pictured, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(patches(), config(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_dictionaries_and_2d_patches_are_taken(tmp_path):
    items = [{"image": p[..., 0], "label": 3} for p in patches()]
    tree = config(tmp_path).as_json()
    tree["model"]["spatial_dims"] = 2
    tree["training"]["patch_size"] = [8, 8]
    folder = train(items, parse_config(tree, "test"))
    assert load_codec(folder).encode(ct_volume()).record.factor == (4, 4, 1)


def test_files_named_by_the_configuration_are_trained_on_and_not_told(pictured, tmp_path):
    for i in range(3):
        write_volume(ct_volume((20, 18, 16), seed=i), tmp_path / "secret" / f"mueller_{i}.nii.gz")
    tree = config(tmp_path / "run").as_json()
    tree["data"] = {"train": [str(tmp_path / "secret")], "phantoms": None}
    path = tmp_path / "files.json"
    path.write_text(json.dumps(tree))
    folder = train(None, path)
    assert load_model_folder(folder).config.name == "files"
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert b"secret" not in content, file
        assert b"mueller" not in content, file
    assert "3 training cases" in (folder / "MODEL_CARD.md").read_text()


def test_a_run_can_begin_from_weights(tmp_path):
    first = train(patches(), config(tmp_path / "first"))
    settings = config(tmp_path / "second", lr=1e-12, ema_decay=0.0)
    model = SMALL_MODEL.model_copy(update={"ckpt_path": str(first)})
    second = train(patches(), RunConfig(model=model, training=settings.training))
    a, b = (load_model_folder(folder).model.state_dict() for folder in (first, second))
    for name in a:
        torch.testing.assert_close(a[name], b[name])
    assert str(tmp_path).encode() not in (second / "model.safetensors").read_bytes()
    wrong = SMALL_MODEL.model_copy(update={"ckpt_path": str(first), "embed_dim": 2})
    with pytest.raises(WeightsError, match="do not fit"):
        train(patches(), RunConfig(model=wrong, training=config(tmp_path / "third").training))


def test_other_preprocessing_than_that_of_the_weights_is_noted(tmp_path, capsys):
    first = train(patches(), config(tmp_path / "first"))
    tree = config(tmp_path / "second", samples=2).as_json()
    tree["model"]["ckpt_path"] = str(first)
    train(patches(), parse_config(tree, "test"))
    assert "other preprocessing" not in capsys.readouterr().err
    tree["preprocess"]["window_hu"] = [-1000, 2000]
    train(patches(), parse_config(tree, "test"), overwrite=True)
    told = capsys.readouterr().err
    assert "window_hu (-1000.0, 1000.0) (here (-1000.0, 2000.0))" in told


def test_a_folder_that_holds_a_run_is_refused_unless_told(tmp_path):
    train(patches(), config(tmp_path), name="first")
    with pytest.raises(ConfigError, match="contains a run already"):
        train(patches(), config(tmp_path), name="second")
    assert load_model_folder(tmp_path).config.name == "first"
    train(patches(), config(tmp_path), name="second", overwrite=True)
    assert load_model_folder(tmp_path).config.name == "second"
    assert [line["samples_seen"] for line in metrics(tmp_path)] == [4, 8]


def test_a_model_with_three_image_channels_gets_the_grey_value_in_each(tmp_path):
    tree = config(tmp_path).as_json()
    tree["model"] |= {"spatial_dims": 2, "in_channels": 3, "out_channels": 3}
    tree["training"]["patch_size"] = None
    folder = train([p[..., 0] for p in patches()], parse_config(tree, "test"))
    assert load_model_folder(folder).model.in_channels == 3


def test_a_1d_model_trains_on_a_data_set_of_ones_own(tmp_path):
    tree = config(tmp_path).as_json()
    tree["model"]["spatial_dims"] = 1
    tree["training"]["patch_size"] = None
    lines = [p[:, 0, 0] for p in patches()]
    with pytest.raises(ConfigError, match="1-D model cannot encode volumes"):
        train(lines, parse_config(tree, "test"), [ct_volume()])
    folder = train(lines, parse_config(tree, "test"))
    assert load_model_folder(folder).model.factor == (4,)


def test_a_wrong_device_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="cuda:77"):
        train(patches(), config(tmp_path / "run"), device="cuda:77")
    assert not (tmp_path / "run").exists()


def test_batches_of_unequal_or_strange_items_are_refused():
    with pytest.raises(InputError, match="different shapes"):
        stack_images([torch.zeros(1, 2), torch.zeros(1, 3)])
    with pytest.raises(InputError, match="tensors or dictionaries"):
        stack_images([3, 4])


def test_data_that_cannot_be_trained_on_is_told_and_nothing_is_written(tmp_path):
    settings = config(tmp_path / "run")
    for data, words in (
        ([], "no items"),
        (iter(patches()), "does not tell how many items"),
        ([p[:, :6] for p in patches()], "multiples of the factor"),
        ([p[0, 0] for p in patches()], "a channel axis and 3 sides"),
        ([p.expand(2, -1, -1, -1) for p in patches()], "1 or 1 channels"),
    ):
        with pytest.raises(InputError, match=words):
            train(data, settings, overwrite=True)
    for data, words in (
        ([ct_volume(), patches()[0]], "begins with a volume gives Tensor as well"),
        ([*patches(), ct_volume()], r"ct_vae\.volume\.Volume"),
        ([p[0, 0] for p in patches()], "a channel axis and 3 sides"),
        ([torch.full((1, 8, 8, 8), torch.nan)], "not finite"),
    ):
        with pytest.raises(InputError, match=words):
            train(patches(), settings, data, overwrite=True)
    with pytest.raises(ConfigError, match="no validation case"):
        train(patches(), config(tmp_path / "run", patience=2), overwrite=True)
    assert not list((tmp_path / "run").glob("*model*"))


def test_a_validation_volume_that_is_refused_is_told_at_the_start(tmp_path):
    write_volume(ct_volume((20, 18, 16)), tmp_path / "a" / "good.nii.gz")
    write_volume(ct_volume((20, 18, 16)), tmp_path / "b" / "bad.nii.gz")
    path = tmp_path / "b" / "bad.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    tree = config(tmp_path / "run").as_json()
    tree["data"] = {"train": [str(tmp_path / "a")], "val": [str(tmp_path / "b")]}
    with pytest.raises(InputError, match=r"bad\.nii\.gz"):
        train(None, parse_config(tree, "test"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_run_leaves_no_bad_file(tmp_path):
    """SIGKILL at ten moments of a run that saves all the time."""
    path = tmp_path / "config.json"
    tree = config(tmp_path / "run", samples=100_000, save_every=2, log_every=2).as_json()
    for name, seed in (("train", 0), ("val", 1)):
        write_volume(ct_volume((20, 18, 16), seed=seed), tmp_path / f"{name}.nii.gz")
        tree["data"][name] = [str(tmp_path / f"{name}.nii.gz")]
    path.write_text(json.dumps(tree))
    for delay in np.linspace(0.0, 0.5, 10):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        process = begin_training(path, pictured=False)
        _wait_for(tmp_path / "run" / "model.safetensors", process)
        time.sleep(delay)
        process.kill()
        process.join()
        load_model_folder(tmp_path / "run")
        metrics(tmp_path / "run")
        json.loads((tmp_path / "run" / "train_config.json").read_text())
    finals = {p.name for p in (tmp_path / "run").iterdir() if not p.name.startswith(".")}
    # The best model is a folder of its own, and the kill may come before it is there.
    assert finals - {"best"} == RUN_FILES - {".lock", "progress.png"} | {"checkpoints"}
    assert all(p.is_dir() for p in (tmp_path / "run").glob("best"))


def _wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.is_alive(), "the run ended by itself"
        assert time.monotonic() < deadline, "the run did not save"
        time.sleep(0.01)


def test_normalized_patches_are_refused_before_anything_is_written(tmp_path):
    data = [patch / 1000 for patch in patches()]
    with pytest.raises(InputError, match="as if normalized"):
        train(data, config(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert (train(data, config(tmp_path / "run"), force=True) / "model.safetensors").exists()


class MapStyle(torch.utils.data.Dataset):
    """A data set that has a length and raises no IndexError, as PyTorch allows."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index % len(self.items)]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_data_set_of_patches_validates_in_every_dimension(pictured, tmp_path, dims):
    """The call of a PyTorch user: two data sets of patches and a file."""
    tree = config(tmp_path / "run").as_json()
    tree["model"]["spatial_dims"] = dims
    tree["training"]["patch_size"] = [8] * dims
    (tmp_path / "config.json").write_text(json.dumps(tree))
    data = [p[(slice(None), *[0] * (3 - dims))] for p in patches()]
    # Sides need not be multiples of the factor, nor those of the training patches.
    longer = [torch.cat([p, p[:, :6]], 1) for p in data[:2]]
    folder = train(MapStyle(data), str(tmp_path / "config.json"), MapStyle(longer))
    lines = [line for line in metrics(folder) if "val_rmse_hu_full" in line]
    assert [line["samples_seen"] for line in lines] == [4, 8]
    names = {
        f"val_{m}_{w}" for m in ("rmse_hu", "psnr_db", "ssim") for w in ("full", "soft_tissue")
    }
    assert names <= lines[-1].keys()
    assert "val_latent_std_0" in lines[-1]
    assert (folder / "best" / "model.safetensors").exists()
    assert (folder / "validation.png").stat().st_size > 5_000
    card = (folder / "MODEL_CARD.md").read_text()
    assert "2 validation patches" in card
    assert "Patches, over all voxels" in card


def test_a_run_on_patches_ends_when_their_validation_gets_no_better(tmp_path):
    settings = config(tmp_path, samples=40, patience=2, lr=1e-30, ema_samples=0, ema_decay=None)
    lines = metrics(train(patches(), settings, patches(2, seed=1)))
    # The first is the best, and two are no better.
    assert [line["samples_seen"] for line in lines if "val_rmse_hu_full" in line] == [4, 8, 12]


def test_random_data_sets_validate_on_the_same_patches_every_time(tmp_path):
    class Noise(MapStyle):
        def __getitem__(self, index):
            return 200 * torch.randn(1, 8, 8, 8)

    settings = config(tmp_path, lr=1e-30, ema_samples=0, ema_decay=None)
    # Training draws from the same global generator in between.
    lines = metrics(train(Noise(range(4)), settings, Noise(range(2))))
    first, second = (line["val_rmse_hu_full"] for line in lines if "val_rmse_hu_full" in line)
    assert first == second


def test_the_card_says_how_large_the_patches_of_a_data_set_were(tmp_path, capsys):
    data = [p.repeat(1, 2, 1, 2) for p in patches()]
    folder = train(data, config(tmp_path / "run"))
    assert "patches of 16 x 8 x 16 voxels" in capsys.readouterr().err
    assert "8 patches of 16 x 8 x 16 voxels seen" in (folder / "MODEL_CARD.md").read_text()
    tree = json.loads((folder / "train_config.json").read_text())
    assert tree["training"]["patch_size"] == [16, 8, 16]


def test_volumes_in_a_list_are_cut_into_patches(tmp_path):
    folder = train([ct_volume((20, 18, 16)), ct_volume(seed=1)], config(tmp_path / "run"))
    card = (folder / "MODEL_CARD.md").read_text()
    assert "2 training cases" in card
    assert "1.5 x 2 x 2.5 mm" in card


def test_a_tracker_gets_the_picture_of_each_validation(pictured, tmp_path, monkeypatch):
    tracker = Mock()
    monkeypatch.setattr(run, "build_tracker", lambda *_: tracker)
    folder = train(MapStyle(patches()), config(tmp_path / "run"), MapStyle(patches()[:1]))
    pictures = [call("validation", folder / "validation.png", clock) for clock in (4, 8)]
    assert tracker.write_picture.mock_calls == pictures


@pytest.mark.parametrize(
    ("augment", "given", "told"),
    [({"noise_hu": 5.0}, True, False), ({}, True, True), ({}, None, False)],
)
def test_augmentation_on_the_device_without_effect_is_told(tmp_path, capfd, augment, given, told):
    file = tmp_path / "ct.nii.gz"
    write_volume(ct_volume((10, 9, 8)), file)
    tree = config(tmp_path / "run", samples=2, augment_on_device=given).as_json()
    tree["data"] |= {"train": [str(file)], "augment": augment}
    folder = train(None, parse_config(tree, "the test"))
    assert ("note: training.augment_on_device has no effect" in capfd.readouterr().err) == told
    recorded = json.loads((folder / "train_config.json").read_text())["training"]
    assert recorded["augment_on_device"] is bool(given)
    assert recorded["workers"] == 0
