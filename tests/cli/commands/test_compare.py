import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from ct_vae.io import write_volume
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.evaluation._cases import noisy

QUIET = ("--no-panels", "--no-report")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folders(tmp_path):
    """Three originals by two patients, and reconstructions that are 10 HU too bright."""
    for place, name in enumerate(("p1/a", "p1/b", "p2/a")):
        volume = ct_volume((16, 14, 12), seed=place)
        write_volume(volume, tmp_path / "in" / f"{name}.nii.gz")
        grain = np.zeros(volume.grid.shape, np.int16)
        grain[8, 7, 6] = 25
        worse = Volume(volume.voxels + np.int16(10) + grain, volume.grid, derived=True)
        write_volume(worse, tmp_path / "out" / f"{name}_recon.nii.gz")
    return tmp_path


def test_folders_are_compared_pair_by_pair(folders):
    (folders / "list.csv").write_text(
        "image,patient\nin/p1/a.nii.gz,P1\nin/p1/b.nii.gz,P1\nin/p2/a.nii.gz,P2\n"
    )
    args = ["compare", folders / "in", folders / "out", "-o", folders / "told"]
    code, text = call(*args, "--datalist", folders / "list.csv", "--no-panels")
    assert code == 0, text
    told = folders / "told"
    assert {p.name for p in told.iterdir()} == {
        "metrics.csv",
        "summary.json",
        "protocol.json",
        "report.html",
    }
    rows = table(told / "metrics.csv")
    assert {row["case"] for row in rows} == {"case_0001", "case_0002", "case_0003"}
    inside = [r for r in rows if r["mask"] == "in_window"]
    assert all(abs(float(r["bias"]) - 10) < 0.1 for r in inside if r["n"] != "0")
    summary = json.loads((told / "summary.json").read_text(), parse_constant=pytest.fail)
    assert (summary["cases"], summary["patients"]) == (3, 2)
    protocol = json.loads((told / "protocol.json").read_text())
    assert len(protocol["cases"]) == 3
    assert protocol["windows"][0] == {
        "name": "full",
        "width": 4024,
        "level": 988,
        "low": -1024,
        "high": 3000,
    }
    for file in told.iterdir():
        assert b"a_recon" not in file.read_bytes()
        assert str(folders).encode() not in file.read_bytes()


def test_two_files_with_every_metric_masks_and_labels(folders):
    volume = ct_volume((16, 14, 12))
    labels = np.zeros(volume.grid.shape, np.int16)
    labels[:8], labels[8:] = 1, 7
    write_volume(Volume(labels, volume.grid), folders / "labels.nii.gz")
    (folders / "names.json").write_text('{"7": "liver"}')
    code, text = call(
        "compare",
        folders / "in" / "p1" / "a.nii.gz",
        folders / "out" / "p1" / "a_recon.nii.gz",
        *("-o", folders / "told", "--metrics", "all", "--write-masks", *QUIET),
        *("--labels", folders / "labels.nii.gz", "--label-names", folders / "names.json"),
        *("--mask", folders / "labels.nii.gz"),
    )
    assert code == 0, text
    rows = table(folders / "told" / "metrics.csv")
    masks = {row["mask"] for row in rows}
    assert masks == {"body", "field_of_view", "in_window", "mask_1", "label_1", "liver"}
    assert f"{folders / 'labels.nii.gz'} is mask_1" in text.replace("\n", "")
    full = {r["mask"]: r for r in rows if r["window"] == "full"}
    assert 9 < float(full["liver"]["bias"]) < 10
    assert int(full["liver"]["n"]) == 8 * 14 * 12
    assert {"ssim", "ssim_axial", "ms_ssim_1_scales", "gradient_mae", "slope"} <= set(rows[0])
    written = {p.name for p in (folders / "told").glob("*.nii.gz")}
    assert written == {
        f"case_0001_{mask}.nii.gz"
        for mask in ("body", "field_of_view", "mask_1", "label_1", "liver")
    }


@pytest.mark.parametrize(("protocol", "mask"), [("synthrad", "body"), ("maisi", "all")])
def test_protocols_have_masks_and_windows_of_their_own(folders, protocol, mask):
    a, b = folders / "in" / "p1" / "a.nii.gz", folders / "out" / "p1" / "a_recon.nii.gz"
    args = ["compare", a, b, "-o", folders / "told", *QUIET, "--protocol", protocol]
    assert call(*args)[0] == 0
    (row,) = table(folders / "told" / "metrics.csv")
    assert (row["window"], row["mask"]) == (protocol, mask)
    assert 5 < float(row["bias"]) < 10.1
    follows = json.loads((folders / "told" / "protocol.json").read_text())["follows"]
    assert protocol in follows.lower()
    code, text = call(*args, "--window", "lung")
    assert (code, "leave windows and metrics out" in text) == (2, True)


def test_partners_that_lack_are_told_before_any_work(folders):
    (folders / "out" / "p2" / "a_recon.nii.gz").rename(folders / "out" / "p2" / "z.nii.gz")
    code, text = call("compare", folders / "in", folders / "out", "-o", folders / "told")
    assert code == 2
    assert "p2/a has no reconstruction" in text
    assert not (folders / "told").exists()


def test_other_grids_are_refused_in_one_line_and_the_rest_is_measured(folders):
    path = folders / "out" / "p2" / "a_recon.nii.gz"
    write_volume(replace(ct_volume((16, 14, 13)), derived=True), path)
    args = ["compare", folders / "in", folders / "out", "-o", folders / "told", *QUIET]
    code, _ = call(*args)
    assert code == 8
    assert "(16, 14, 13)" in (folders / "told" / "failures.jsonl").read_text()
    assert len({row["case"] for row in table(folders / "told" / "metrics.csv")}) == 2


def test_unknown_metrics_and_lonely_names_are_refused(folders):
    args = ["compare", folders / "in", folders / "out", "-o", folders / "told"]
    code, text = call(*args, "--metrics", "lpips")
    assert (code, "lpips" in text) == (2, True)
    code, text = call(*args, "--label-names", folders / "names.json")
    assert (code, "give labels as well" in text) == (2, True)


def test_an_exact_offset_has_a_report_and_an_unclipped_bias(folders):
    original = ct_volume((16, 14, 12))
    shifted = Volume(original.voxels + np.int16(10), original.grid, derived=True)
    write_volume(original, folders / "a.nii.gz")
    write_volume(shifted, folders / "b.nii.gz")
    args = ("compare", folders / "a.nii.gz", folders / "b.nii.gz", "-o", folders / "told")
    code, text = call(*args)
    assert code == 0, text
    rows = [r for r in table(folders / "told" / "metrics.csv") if r["mask"] == "in_window"]
    biases = {r["window"]: float(r["bias"]) for r in rows if r["n"] != "0"}
    assert {"full", "soft_tissue"} <= biases.keys()
    assert list(biases.values()) == pytest.approx([10] * len(biases), abs=0.1)
    page = (folders / "told" / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "Histogram of errors" in page
    assert (folders / "told" / "case_0001.png").stat().st_size > 1000


def test_a_reconstruction_that_is_not_in_hu_is_told_everywhere(tmp_path):
    original = ct_volume((16, 14, 12))
    shifted = Volume(original.voxels + np.int16(1024), original.grid)
    write_volume(original, tmp_path / "a.nii.gz")
    write_volume(shifted, tmp_path / "b.nii.gz")
    folder = tmp_path / "told"
    code, text = call("compare", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", "-o", folder)
    assert code == 0, text
    assert "HU + 1024" in text
    assert "1 reconstruction" in text
    protocol = json.loads((folder / "protocol.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    assert protocol["cases"]["case_0001"]["notes"] == summary["warnings"]["case_0001"]
    assert "HU + 1024" in summary["warnings"]["case_0001"][0]
    assert "HU + 1024" in (folder / "report.html").read_text()
    code, text = call("compare", tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", "-o", folder, *QUIET)
    assert "warnings" not in json.loads((folder / "summary.json").read_text())


def test_the_rate_of_codecs_at_the_error_of_a_reconstruction(tmp_path):
    original = make_phantom("abdomen", 3, 8.0, (48, 40, 10))
    write_volume(original, tmp_path / "a.nii.gz")
    write_volume(noisy(original, hu=40), tmp_path / "b.nii.gz")
    out = tmp_path / "out"
    args = ["compare", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", "-o", out, "--no-report"]
    args += ["--no-panels", "--metrics", "errors"]
    code, text = call(*args, "--rate-distortion", "--bits-per-voxel", "0.5")
    assert code == 0, text
    found = json.loads((out / "summary.json").read_text())["rate_distortion"]
    assert found["bits_on_disk"] == 0.5
    assert found["body"]["methods"][0]["bits_at_equal_error"] > 0
    code, text = call(*args, "--bits-per-voxel", "0.5")
    assert (code, "--rate-distortion" in text) == (2, True)


def test_segmentations_of_both_are_compared_organ_by_organ(tmp_path):
    original = ct_volume((16, 14, 12))
    inside = (original.voxels > -300).astype(np.int16)
    eroded = inside.copy()
    eroded[: np.flatnonzero(inside.any((1, 2)))[0] + 1] = 0
    write_volume(original, tmp_path / "a.nii.gz")
    write_volume(noisy(original, hu=4), tmp_path / "b.nii.gz")
    write_volume(Volume(3 * inside, original.grid), tmp_path / "la.nii.gz")
    write_volume(Volume(3 * eroded, original.grid), tmp_path / "lb.nii.gz")
    (tmp_path / "names.json").write_text('{"3": "phantom"}')
    args = ["compare", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", "-o", tmp_path / "out"]
    labels = ["--labels", tmp_path / "la.nii.gz", "--label-names", tmp_path / "names.json"]
    labels += ["--reconstruction-labels", tmp_path / "lb.nii.gz"]
    code, text = call(*args, *labels, "--no-panels")
    assert code == 0, text
    (row,) = table(tmp_path / "out" / "organs.csv")
    assert (row["case"], row["organ"]) == ("case_0001", "phantom")
    assert float(row["dice"]) == pytest.approx(2 * eroded.sum() / (inside.sum() + eroded.sum()))
    assert float(row["hd95_mm"]) == original.grid.spacing_mm[0]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["organs"][0]["mean_hu"] == pytest.approx(float(row["mean_hu"]))
    assert "hd95 mm" in (tmp_path / "out" / "report.html").read_text()
    assert call(*args, *labels[:-1], tmp_path / "absent.nii.gz")[0] == 3
