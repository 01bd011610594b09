"""What MONAI does with the bundle of the quickstart model, beside what the commands do."""

import json
import subprocess
import sys

import monai.bundle
import nibabel
import numpy as np
import onnxruntime
import pytest
import torch
from monai.transforms import Compose, LoadImage, Orientation

from ct_vae.bundle.network import load_part
from ct_vae.io.atomic.file import sha256_file
from ct_vae.models.model_folder import load_model_folder
from ct_vae.preprocess.reader import CTReader
from tests.bundle._run import WORKFLOWS, run, same_image, same_record
from tests.cli._run import call

pytestmark = [
    pytest.mark.slow,
    # MONAI says so of every configuration; this one is of the test's own making.
    pytest.mark.filterwarnings("ignore:parsing config_file:UserWarning"),
    # MONAI's LoadImage makes all of its readers, of which one misses an optional decoder.
    pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning"),
    # TorchScript is deprecated, and the file that ckpt_export writes is one.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # MONAI calls the exporter with arguments of its former version.
    pytest.mark.filterwarnings("ignore:.*dynamic_axes.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnx|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnx|copyreg)"),
]
# The same for commands and workflows, so that both plan the same slabs.
MEMORY = 4.0
CHOSEN = {"evaluation#windows": ["soft_tissue"], "evaluation#metrics": ["errors"]}


@pytest.fixture(scope="session")
def schema(real_data):
    path = real_data.parent / "monai_schema" / "meta_schema_20240725.json"
    if not path.is_file():
        pytest.skip(f"the schema of metadata is not at {path}")
    return path


def test_metadata_fit_the_published_schema_and_tell_what_was_measured(quickstart_bundle, schema):
    metadata = quickstart_bundle / "configs/metadata.json"
    assert sha256_file(schema).startswith("cd64aa8a5904426f")
    monai.bundle.verify_metadata(
        meta_file=str(metadata),
        filepath=str(schema),
        hash_val=sha256_file(schema),
        hash_type="sha256",
    )
    told = json.loads(metadata.read_text())
    assert told["authors"] == "A. Author"
    assert told["eval_metrics"]["val_rmse_hu_full"] > 0


@pytest.mark.parametrize("name", [n for n in WORKFLOWS if n != "train"])
def test_networks_take_and_give_what_metadata_say(quickstart_bundle, name):
    way = {"encode": "encoder", "decode": "decoder"}.get(name, "network")
    formats = "" if way == "network" else f"{way}_data_format"
    metadata = json.loads((quickstart_bundle / "configs/metadata.json").read_text())
    if formats:
        metadata["network_data_format"] = metadata[formats]
    meta_file = quickstart_bundle / f"configs/{name}_metadata.json"
    meta_file.write_text(json.dumps(metadata))
    try:
        monai.bundle.verify_net_in_out(
            net_id="network_def",
            meta_file=str(meta_file),
            config_file=str(quickstart_bundle / f"configs/{name}.json"),
            device="cpu",
            n=2,
        )
    finally:
        meta_file.unlink()


def test_the_network_that_monai_loads_is_the_command_reconstruct(
    quickstart_bundle, quickstart, phantom, tmp_path, monkeypatch
):
    assert call("reconstruct", quickstart, phantom, "-o", tmp_path)[0] == 0
    expected = nibabel.load(tmp_path / "thorax_reconstruction.nii.gz")
    monkeypatch.chdir(tmp_path)
    name, folder = quickstart_bundle.name, quickstart_bundle.parent
    network = monai.bundle.load(name, bundle_dir=folder, workflow_type="inference", device="cpu")
    read = LoadImage(reader=CTReader, ensure_channel_first=True)
    load = Compose([read, Orientation("RAS", labels=None)])
    image = load(phantom)
    with torch.no_grad():
        found = network.eval()(image.as_tensor()[None])
    assert found.shape == (1, *image.shape)
    assert np.allclose(image.affine, expected.affine)
    # The command writes whole HU.
    assert np.abs(found[0, 0].numpy() - expected.get_fdata()).max() <= 0.5 + 0.1


def test_encode_decode_and_inference_are_the_commands(
    quickstart_bundle, quickstart, phantom, tmp_path
):
    latent, _ = both(quickstart_bundle, quickstart, "encode", phantom, tmp_path)
    decoded = both(quickstart_bundle, quickstart, "decode", latent.parent, tmp_path)
    reconstructed = both(quickstart_bundle, quickstart, "inference", phantom, tmp_path)
    assert latent.name == "thorax_latent.nii.gz"
    assert decoded[0].name == "thorax_decoded.nii.gz"
    assert reconstructed[0].name == "thorax_reconstruction.nii.gz"


def both(bundle, model, name, cases, folder):
    """The one image that a workflow writes, and that of the command, which are the same."""
    command = {"inference": "reconstruct"}.get(name, name)
    run(bundle, name, cases, folder / name / "a", **{"inferer#max_memory_gb": MEMORY})
    given = ("--max-memory-gb", MEMORY)
    assert call(command, model, cases, "-o", folder / name / "b", *given)[0] == 0
    a, b = (next((folder / name / each).glob("*.nii.gz")) for each in "ab")
    assert a.name == b.name
    same_image(a, b)
    if name == "encode":
        same_record(*(path.with_name(path.name.replace(".nii.gz", ".json")) for path in (a, b)))
    return a, b


def test_real_ct_goes_through_every_workflow(quickstart_bundle, quickstart, real_data, tmp_path):
    ct = real_data / "nifti" / "abdomen_3mm.nii.gz"
    latent, _ = both(quickstart_bundle, quickstart, "encode", ct, tmp_path)
    run(quickstart_bundle, "decode", latent.parent, tmp_path / "decode")
    run(quickstart_bundle, "inference", ct, tmp_path / "inference")
    source = nibabel.load(ct)
    for name in ("decode", "inference"):
        (path,) = (tmp_path / name).glob("*.nii.gz")
        assert nibabel.load(path).shape == source.shape
        assert np.allclose(nibabel.load(path).affine, source.affine, atol=1e-5)
    run(quickstart_bundle, "evaluate", ct, tmp_path / "evaluate", **CHOSEN)
    text = (tmp_path / "evaluate" / "metrics.csv").read_text()
    assert "case_0001,reconstruction,soft_tissue,body" in text


def test_evaluate_is_the_command(quickstart_bundle, quickstart, phantom, tmp_path):
    run(quickstart_bundle, "evaluate", phantom, tmp_path / "a", **CHOSEN)
    options = ("--window", "soft_tissue", "--metrics", "errors")
    assert call("evaluate", quickstart, phantom, "-o", tmp_path / "b", *options)[0] == 0
    names = [sorted(p.name for p in (tmp_path / each).iterdir()) for each in "ab"]
    assert names[0] == names[1]
    assert {"metrics.csv", "summary.json", "report.html", "case_0001.png"} <= set(names[0])
    tables = [(tmp_path / each / "metrics.csv").read_text() for each in "ab"]
    assert tables[0] == tables[1]
    assert "jpeg2000" in tables[0]


def test_train_goes_a_few_steps(quickstart_bundle, tmp_path):
    run(
        quickstart_bundle,
        "train",
        None,
        tmp_path / "run",
        **{
            "settings#data": {"phantoms": {"train": 1, "val": 1, "spacing_mm": [8.0, 8.0, 8.0]}},
            "settings#training#warmup_samples": 4,
            "train#trainer#max_epochs": 2,
            "train#trainer#epoch_samples": 8,
        },
    )
    loaded = load_model_folder(tmp_path / "run")
    assert loaded.config.samples_seen == 16
    assert loaded.config.model == load_model_folder(quickstart_bundle / "models").config.model


def test_ckpt_export_as_a_user_calls_it(quickstart_bundle, quickstart, tmp_path):
    command = ["-m", "monai.bundle", "ckpt_export", "network_def", "--bundle_root"]
    files = ["--config_file", quickstart_bundle / "configs/inference.json"]
    done = subprocess.run(
        [sys.executable, *command, quickstart_bundle, *files, "--filepath", tmp_path / "x.ts"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    exported = torch.jit.load(tmp_path / "x.ts")
    network = load_part("reconstruct", load_model_folder(quickstart))
    with torch.no_grad():
        for blocks in ((2, 2, 2), (3, 2, 4)):
            image = network.example(blocks)
            assert (exported(image) - network(image)).abs().max() <= 0.1


def test_onnx_export_agrees_with_the_model(quickstart_bundle, quickstart, tmp_path):
    monai.bundle.onnx_export(
        net_id="network_def",
        filepath=str(tmp_path / "x.onnx"),
        ckpt_file=str(quickstart_bundle / "models/model.pt"),
        meta_file=str(quickstart_bundle / "configs/metadata.json"),
        config_file=str(quickstart_bundle / "configs/inference.json"),
        input_shape=[1, 1, 8, 8, 8],
    )
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    network = load_part("reconstruct", load_model_folder(quickstart))
    image = network.example((2, 2, 2))
    (found,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        assert (torch.from_numpy(found) - network(image)).abs().max() <= 0.1
