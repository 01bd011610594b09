"""No option is ignored in silence: it acts, or it is refused beside what makes it idle."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import pytest

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.io import write_volume
from ct_vae.models.model_folder import save_model_folder
from tests._small import SMALL_CODES, ct_volume, small_model
from tests.cli._run import call

INTERFACE = json.loads(Path(__file__).with_name("interface.json").read_text("utf-8"))["commands"]
READING = "--frame 1|--nan air|--hu-offset -1024|--assume-ras|--force|--assume-hu"
READING = f"{READING}|--resample-irregular|--any-sop-class".split("|")
BLENDING = ["--tile 16", "--overlap 0.5", "--tiling exact --tile 16", "--tiling whole --overlap 0"]
BLENDING.append("--tile-batch 2")
OF_INPUTS = "--window lung|--metrics ssim|--protocol maisi|--mask x|--labels x|--label-names x"
OF_INPUTS = f"{OF_INPUTS}|--reconstruction-labels x|--lpips-weights x"
OF_INPUTS = f"{OF_INPUTS}|--latent|--write-masks|--datalist x|--rate-distortion|--full".split("|")

# By command, what is refused, and words of the refusal. Words in capitals are paths.
REFUSED: dict[str, list[tuple[str, list[str], str]]] = {
    "encode": [
        ("MODEL IN -o OUT", BLENDING, "would have no effect: the tiling is"),
        ("MODEL IN -o OUT", ["--sample", "--seed 3"], "--sample and --seed go together"),
        ("MODEL IN -o OUT", ["--step 0.1"], "a step is given, and int16 has none"),
        ("MODEL IN -o OUT --sample --seed 3", ["--posterior"], "exclude each other"),
        ("MODEL IN -o OUT --device cpu", ["--fallback cpu"], "no effect with --device cpu"),
        (
            "MODEL IN -o OUT",
            ["--tiling whole --max-memory-gb 0.01"],
            "the whole volume at once needs",
        ),
        (
            "MODEL IN -o OUT --overwrite",
            ["--verify"],
            "--overwrite and --verify exclude each other",
        ),
        ("CODES IN -o OUT", ["--dtype int16", "--dtype float32"], "this model makes codes"),
        ("CODES IN -o OUT", ["--sample --seed 3"], "no posterior to sample"),
    ],
    "decode": [
        ("MODEL LATENTS -o OUT", BLENDING, "would have no effect: the tiling is"),
        (
            "MODEL LATENTS -o OUT",
            ["--like IN", "--keep-identity", "--hu-offset -1024"],
            "are for DICOM",
        ),
        ("MODEL LATENTS -o OUT --device cpu", ["--fallback cpu"], "no effect with --device cpu"),
    ],
    "reconstruct": [
        ("MODEL IN -o OUT", BLENDING, "would have no effect: the tiling is"),
        ("MODEL IN -o OUT --device cpu", ["--fallback cpu"], "no effect with --device cpu"),
    ],
    "evaluate": [
        ("MODEL IN -o OUT", BLENDING, "would have no effect: the tiling is"),
        ("MODEL -o OUT --phantom", [*OF_INPUTS, *READING], "no INPUT is given"),
        ("MODEL IN -o OUT --no-report", ["--full"], "full needs a report"),
        ("MODEL IN -o OUT --protocol maisi", ["--window lung", "--metrics ssim"], "has its own"),
        ("MODEL IN -o OUT", ["--label-names x"], "names of labels need labels"),
        ("MODEL IN -o OUT", ["--reconstruction-labels x"], "compared with labels"),
        ("MODEL IN -o OUT", ["--lpips-weights x"], "no such file"),
        ("MODEL IN -o OUT", ["--datalist OTHERS"], "contains none of the 1 volumes"),
    ],
    "compare": [
        ("IN IN -o OUT --no-report", ["--full"], "full needs a report"),
        ("IN IN -o OUT", ["--bits-per-voxel 1"], "used by --rate-distortion only"),
        ("IN IN -o OUT --protocol maisi", ["--window lung", "--metrics ssim"], "has its own"),
        ("IN IN -o OUT", ["--label-names x"], "names of labels need labels"),
        ("IN IN -o OUT", ["--reconstruction-labels x"], "compared with labels"),
        ("IN IN -o OUT", ["--lpips-weights x"], "no such file"),
        ("IN IN -o OUT", ["--datalist OTHERS"], "contains none of the 1 volumes"),
    ],
    "sample": [
        ("MODEL IN -o OUT", BLENDING, "would have no effect: the tiling is"),
        (
            "MODEL IN -o OUT --count 0",
            ["--seed 0", "--size 8 8 8", "--spacing-mm 1 1 1"],
            "--count 0 draws no samples",
        ),
        ("MODEL -o OUT", READING, "no file is read"),
        ("MODEL -o OUT --config PHANTOMS", READING, "no effect on phantoms"),
        ("MODEL IN -o OUT", ["--config PHANTOMS"], "both name volumes"),
    ],
    "phantom": [("-o OUT --anatomy head --anatomy thorax", ["--count 1"], "leaves out some")],
    "scan": [("IN", ["--overwrite"], "no datalist is written")],
    "convert": [
        (
            "MODEL -o OUT --to monai",
            [
                "--config x",
                "--inflate central",
                "--depth-stride 2",
                "--image-channels 1",
                "--window-hu 0 1",
                "--model-range 0 1",
                "--name x",
            ],
            "--to can be used with",
        ),
        ("MODEL -o OUT", ["--image-channels 1"], "already has one image channel"),
        ("MODEL -o OUT --image-channels 1", ["--depth-stride 2"], ""),
        ("MODEL -o OUT --inflate central", ["--config CONFIG"], "has its own configuration"),
    ],
    "latent convert": [("LATENTS -o OUT", ["--dtype int16 --step 0.1"], "a step is given")],
    "train": [("CONFIG --resume", ["--overwrite"], "give one of them")],
}

# What acts whatever else is given: names of inputs and outputs, ways of telling, consents to what
# may be found in a file, and bounds.
ALWAYS = {
    "-q", "--quiet", "--inputs", "--from", "--retry", "--install-completion", "--show-completion",
    "-o", "--output", "--device", "--tiling", "--max-memory-gb", "--verbose", "--json", "--set",
    "--layout", "--shard", "--format", "--phantom", "--panels", "--no-panels", "--report",
    "--no-report", "--protocol", "--mask", "--labels", "--write-masks", "--checkpoint", "--to",
    "--anatomy", "--spacing-mm", "--seed", "--val-share", "--test-share", "--patient", "--part",
    "--precision", "--title", "--split",
    "--model-units", "--authors", "--copyright", "--version", "--dry-run", "--resume", "--count",
    "--rate-distortion", "--overwrite", "--inflate", *(option.split()[0] for option in READING),
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory, model_folder):
    folder = tmp_path_factory.mktemp("idle")
    write_volume(ct_volume((40, 40, 40)), folder / "in" / "ct.nii.gz")
    codes = ModelFolderConfig(
        name="codes",
        model=SMALL_CODES["vq"],
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=1.0),
    )
    save_model_folder(folder / "codes", small_model(base=SMALL_CODES["vq"]), codes, "# codes\n", {})
    assert call("encode", model_folder, folder / "in", "-o", folder / "latents")[0] == 0
    (folder / "config.json").write_text("{}")
    (folder / "others.csv").write_text("image,patient\nelsewhere.nii.gz,1\n")
    return {
        "MODEL": model_folder,
        "CODES": folder / "codes",
        "IN": folder / "in",
        "LATENTS": folder / "latents",
        "CONFIG": folder / "config.json",
        "PHANTOMS": folder / "config.json",
        "OTHERS": folder / "others.csv",
    }


CASES = [
    pytest.param(command, f"{args} {option}", words, id=f"{command} {option} beside {args}")
    for command, rows in REFUSED.items()
    for args, options, words in rows
    for option in options
]


@pytest.mark.parametrize(("command", "args", "words"), CASES)
def test_what_would_be_ignored_is_refused_before_any_work(places, tmp_path, command, args, words):
    named = {**places, "OUT": tmp_path / "out"}
    code, text = call(*command.split(), *(named.get(word, word) for word in args.split()))
    assert code == 2, text
    assert words in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_every_option_acts_or_is_in_the_table():
    for command, options in INTERFACE.items():
        in_table = {
            word
            for _, options, _ in REFUSED.get(command, [])
            for option in options
            for word in option.split()
        }
        names = {name for name in options if name.startswith("-")}
        assert names <= ALWAYS | in_table, (command, names - ALWAYS - in_table)


def test_a_model_of_blended_tiles_takes_their_size_without_more_ado(places, tmp_path):
    folder = copytree(places["MODEL"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    assert config["inference"]["tiling"] == "exact"
    code, text = call(
        "encode", folder, places["IN"], "-o", tmp_path / "out", "--tiling", "blend", "--tile", 16
    )
    assert code == 0, text


def test_options_that_are_consents_need_nothing_to_consent_to(places, tmp_path):
    consents = ["--assume-ras", "--force", "--assume-hu", "--resample-irregular", "--nan", "air"]
    args = ["encode", places["MODEL"], places["IN"], "-o", tmp_path, *consents, "--frame", 0]
    assert call(*args)[0] == 0
