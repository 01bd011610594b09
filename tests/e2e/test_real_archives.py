"""A tree as archives of the field have it: every file is taken, or there is a reason why not."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import generate_uid
from typer.testing import CliRunner

from ct_vae.cli.main import app
from ct_vae.find_volumes.cases import discover
from ct_vae.find_volumes.items import find_items
from ct_vae.io import read_volume, write_volume
from ct_vae.io.source_files import source_files
from ct_vae.volume import Volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.io._series import make_series, write_series

pytestmark = pytest.mark.slow


def labels(volume):
    """A label map of two organs on the grid of a volume."""
    return Volume((volume.voxels > 0).astype(np.int16) * 2, volume.grid)


def luna(folder, real_data):
    """LUNA16: a header and its voxels, one pair per series."""
    folder.mkdir(parents=True)
    image = sitk.ReadImage(str(real_data / "nifti" / "lung_crop.mha"))
    sitk.WriteImage(image, str(folder / "1.3.6.1.4.1.14519.mhd"))
    sitk.WriteImage(image, str(folder / "1.3.6.1.4.1.14520.mhd"), useCompression=True)
    assert len(list(folder.iterdir())) == 4


def lidc(folder):
    """LIDC-IDRI: a frame of reference of its own in every slice, and annotations beside them."""
    slices = make_series(12)
    for each in slices:
        each.FrameOfReferenceUID = generate_uid()
    write_series(folder / "LIDC-IDRI-0001" / "study" / "000000", slices)
    (folder / "LIDC-IDRI-0001" / "study" / "000000" / "158.xml").write_text("<a/>")


def totalsegmentator(folder):
    """TotalSegmentator: a CT and a folder of masks for each subject."""
    for number in range(3):
        subject = folder / f"s{number:04}"
        (subject / "segmentations").mkdir(parents=True)
        volume = ct_volume((20, 18, 16), seed=number)
        write_volume(volume, subject / "ct.nii.gz")
        for organ in ("liver", "spleen"):
            write_volume(labels(volume), subject / "segmentations" / f"{organ}.nii.gz")
    (folder / "meta.csv").write_text("image_id;age\ns0000;50\n")


def auto3dseg(folder):
    """MONAI Auto3DSeg: a datalist with folds and a list ``testing``."""
    lists = {"training": [], "testing": []}
    for number in range(4):
        name = f"case_{number}.nii.gz"
        part = "imagesTr" if number < 3 else "imagesTs"
        (folder / part).mkdir(parents=True, exist_ok=True)
        volume = ct_volume((20, 18, 16), seed=10 + number)
        write_volume(volume, folder / part / name)
        entry = {"image": f"{part}/{name}"}
        if number < 3:
            (folder / "labelsTr").mkdir(exist_ok=True)
            write_volume(labels(volume), folder / "labelsTr" / name)
            entry |= {"label": f"labelsTr/{name}", "fold": number % 3}
        lists["training" if number < 3 else "testing"].append(entry)
    (folder / "datalist.json").write_text(json.dumps(lists))


@pytest.fixture(scope="module")
def tree(tmp_path_factory, real_data):
    root = tmp_path_factory.mktemp("archives")
    shutil.copytree(real_data / "dicom", root / "dicom", copy_function=shutil.copyfile)
    luna(root / "luna" / "subset0", real_data)
    lidc(root / "lidc")
    totalsegmentator(root / "totalsegmentator")
    auto3dseg(root / "auto3dseg")
    return root


def files_of(root):
    return {p for p in root.rglob("*") if p.is_file()}


def test_a_search_takes_every_file_or_tells_why_not(tree):
    found = discover([tree], unique=False)
    taken = [file for case in found for file in source_files(case.path, case.series)]
    told = [file for each in found.left_out for file in each.files or (each.path,)]
    assert {*taken, *told} == files_of(tree)
    assert not set(taken) & set(told)
    assert len(taken) == len(set(taken))
    assert all(each.reason or each.kind == "other" for each in found.left_out)
    names = {case.path.name for case in found}
    assert {"1.3.6.1.4.1.14519.mhd", "1.3.6.1.4.1.14520.mhd", "ct.nii.gz"} <= names


def test_a_scan_lists_every_file_or_counts_it(tree):
    found = find_items([tree])
    listed = {
        file
        for item in found.items
        if item.kind != "folder"
        for file in source_files(item.path, item.series)
    }
    assert listed | set(found.others) == files_of(tree)
    assert not listed & set(found.others)
    result = CliRunner().invoke(app, ["scan", str(tree), "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    verdicts = [row["verdict"] for row in rows]
    assert all(row["reason"] for row in rows if row["verdict"] != "ok")
    assert len(verdicts) >= len(found.items)
    assert verdicts.count("ok") >= 12


def test_encode_gives_a_latent_or_a_reason_for_each_case(tree, model_folder, tmp_path):
    cases = discover([tree], unique=False)
    code, text = call("encode", model_folder, tree, "-o", tmp_path)
    latents = list(tmp_path.rglob("*_latent.nii.gz"))
    failures = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert code == 8, text
    assert len(latents) + len(failures) == len(cases)
    assert all(each["cause"] for each in failures)
    # Masks and damaged or irregular series are refused, whatever else is CT is encoded.
    refused = {each["case"] for each in failures}
    assert sum("segmentations" in case for case in refused) == 6
    assert sum("labelsTr" in case for case in refused) == 3
    assert not any(name in case for case in refused for name in ("luna", "lidc", "ct.nii.gz"))


@pytest.mark.parametrize("source", ["datalist", "glob", "luna"])
def test_a_dry_run_takes_what_each_layout_means(tree, tmp_path, repository, source):
    data = {
        "datalist": {"datalist": str(tree / "auto3dseg" / "datalist.json"), "fold": 0},
        "glob": {"train": [str(tree / "totalsegmentator" / "*" / "ct.nii.gz")], "val_share": 0.3},
        "luna": {"train": [str(tree / "luna")]},
    }[source]
    config = json.loads((repository / "configs" / "quickstart.json").read_text())
    config |= {"data": data}
    config["training"] |= {"patch_size": [16, 16, 16], "output_dir": str(tmp_path / "run")}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(config))
    code, text = call("train", path, "--dry-run")
    assert code == 0, text
    counts = {"datalist": "2 for training, 1 for validation", "glob": "for training, 1 for"}
    assert counts.get(source, "2 for training, 0 for validation") in text
    assert not (tmp_path / "run").exists()


def test_masks_among_the_volumes_stop_a_dry_run(tree, tmp_path, repository):
    config = json.loads((repository / "configs" / "quickstart.json").read_text())
    config |= {"data": {"train": [str(tree / "totalsegmentator")]}}
    config["training"] |= {"output_dir": str(tmp_path / "run")}
    path = tmp_path / "run.json"
    path.write_text(json.dumps(config))
    code, text = call("train", path, "--dry-run")
    assert code != 0
    assert "liver.nii.gz" in text


def test_voxels_of_luna_are_those_of_simpleitk(tree):
    for path in sorted((tree / "luna").rglob("*.mhd")):
        image = sitk.ReadImage(str(path))
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.voxels, sitk.GetArrayFromImage(image).T)
