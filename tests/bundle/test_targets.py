"""Every part can be named in a configuration of MONAI, and takes what MONAI hands around."""

import json

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from ct_vae.io import read_latent, write_volume
from tests._small import SMALL_MODEL, ct_volume

# MONAI's LoadImage makes all of its readers, of which one misses an optional decoder.
pytestmark = [
    pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*starts from scratch"),
]

SHAPE = SMALL_MODEL.model_dump(mode="json", include={"down_channels", "num_res_blocks"})
SHAPE |= {"mid_attn": False, "norm_groups": 2}
LOSSES = {
    "l1": {"_target_": "ct_vae.losses.reconstruction.reconstruction_loss", "recon_type": "l1"},
    "charbonnier": {
        "_target_": "ct_vae.losses.reconstruction.charbonnier",
        "_mode_": "callable",
    },
    "window": {"_target_": "ct_vae.losses.window.WindowLoss", "low": -0.2, "high": 0.3},
    "gradient": {"_target_": "ct_vae.losses.gradient.gradient_loss", "_mode_": "callable"},
}
METRICS = ("HounsfieldMAE", "HounsfieldRMSE", "HounsfieldBias", "WindowedPSNR", "WindowedSSIM")
MODELS = {
    "AutoencoderKL": {},
    "VQVAE": {"codebook_size": 64},
    "MagvitVQVAE": {},
}
PIPELINE = {
    "load": {
        "_target_": "monai.transforms.LoadImaged",
        "keys": "ct",
        "reader": "ct_vae.preprocess.reader.CTReader",
        "ensure_channel_first": True,
    },
    "scale": {
        "_target_": "ct_vae.preprocess.hounsfield_transforms.ScaleHUd",
        "keys": "ct",
        "window_hu": [-1000.0, 1000.0],
    },
    "encode": {"_target_": "ct_vae.bundle.EncodeCTd", "keys": "ct", "model": "@model_folder"},
    "save": {
        "_target_": "monai.transforms.SaveImaged",
        "keys": "ct",
        "writer": "ct_vae.preprocess.latent_writer.LatentWriter",
        "output_dir": "@out",
        "output_postfix": "latent",
        "output_ext": ".nii.gz",
        "separate_folder": False,
        "resample": False,
        "print_log": False,
    },
    "decode": {"_target_": "ct_vae.bundle.DecodeLatentd", "keys": "ct", "model": "@model_folder"},
    "pipeline": {
        "_target_": "monai.transforms.Compose",
        "transforms": ["@load", "@encode", "@save", "@decode"],
    },
}


def parsed(tree):
    """What MONAI makes of a configuration that was a file."""
    return ConfigParser(json.loads(json.dumps(tree)))


@pytest.mark.parametrize("name", MODELS)
def test_models_train_a_step_on_scaled_images_that_know_their_place(name, tmp_path):
    write_volume(ct_volume((12, 8, 16)), tmp_path / "a.nii.gz")
    model = {"_target_": f"ct_vae.models.{name}", **SHAPE, **MODELS[name]}
    tree = parsed({**PIPELINE, "model": model, "losses": LOSSES})
    item = tree.get_parsed_content("scale")(
        tree.get_parsed_content("load")({"ct": tmp_path / "a.nii.gz"})
    )
    image = item["ct"][None]
    assert isinstance(image, MetaTensor)
    assert (image.min(), image.max()) <= (-1, 1)
    network = tree.get_parsed_content("model")
    reconstruction, _ = network(image)
    for loss in tree.get_parsed_content("losses").values():
        value = loss(reconstruction, image)
        plain = loss(torch.as_tensor(reconstruction), image.as_tensor())
        assert value.item() == plain.item() > 0
    value.backward()
    assert all(p.grad is not None for p in network.decoder.parameters())


def test_penalties_and_discriminators_can_be_named():
    tree = parsed(
        {
            "kl": {"_target_": "ct_vae.losses.kl.KLLoss", "reduction": "sum"},
            "judge": {
                "_target_": "ct_vae.models.discriminator.PatchDiscriminator",
                "base_ch": 4,
                "levels": 2,
            },
        }
    )
    kl = MetaTensor(torch.ones(2, 3, 2, 2, 2))
    assert float(tree.get_parsed_content("kl")(kl)) == 24
    logits = tree.get_parsed_content("judge")(MetaTensor(torch.zeros(1, 1, 16, 16, 16))).logits
    assert logits.shape[:2] == (1, 1)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_go_through_a_run_of_batches(name):
    metric = parsed(
        {"metric": {"_target_": f"ct_vae.evaluation.monai_metrics.{name}", "window": "soft_tissue"}}
    ).get_parsed_content("metric")
    draw = torch.Generator().manual_seed(0)
    image = MetaTensor(40 + 20 * torch.randn(2, 1, 16, 16, 16, generator=draw))
    result = image + 5
    metric(y_pred=result, y=image)
    assert float(metric.aggregate()) == pytest.approx(
        {
            "HounsfieldMAE": 5,
            "HounsfieldRMSE": 5,
            "HounsfieldBias": 5,
            "WindowedPSNR": 20 * np.log10(400 / 5),
            "WindowedSSIM": float(metric.aggregate()),
        }[name],
        rel=1e-3,
    )
    assert name != "WindowedSSIM" or 0.5 < float(metric.aggregate()) < 1


def test_a_pipeline_by_names_alone_writes_a_latent_and_gives_the_ct_back(model_folder, tmp_path):
    affine = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 2.5, 11], [0, 0, 0, 1]])
    write_volume(ct_volume((13, 10, 11), affine), tmp_path / "a.nii.gz")
    tree = {**PIPELINE, "model_folder": str(model_folder), "out": str(tmp_path / "out")}
    pipeline = parsed(tree).get_parsed_content("pipeline")
    result = pipeline({"ct": tmp_path / "a.nii.gz"})["ct"]
    assert np.allclose(result.affine, affine)
    assert tuple(result.shape) == (1, 13, 10, 11)
    latent = read_latent(tmp_path / "out" / "a_latent.nii.gz")
    assert np.allclose(latent.record.source.grid.affine, affine)


def test_an_exact_inferer_by_name_gives_what_the_network_gives():
    tree = parsed(
        {
            "inferer": {"_target_": "ct_vae.inference.exact_inferer.ExactInferer"},
            "network": {
                "_target_": "ct_vae.bundle.build_part",
                "part": "encode",
                "model": SMALL_MODEL.model_dump(mode="json"),
            },
        }
    )
    inferer, network = (tree.get_parsed_content(name) for name in ("inferer", "network"))
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    image = MetaTensor(network.example((3, 2, 4)), affine=torch.tensor(affine))
    found = inferer(image, network)
    with torch.no_grad():
        assert torch.allclose(found.as_tensor(), network(image.as_tensor()), atol=1e-4)
    # The first latent voxel lies at the centre of its block of 4.
    assert np.allclose(found.affine.numpy() @ [0, 0, 0, 1], affine @ [1.5, 1.5, 1.5, 1])
    assert np.allclose(np.diag(found.affine.numpy()), [6, 8, 10, 1])
