import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ct_vae.io import read_volume, volume_sha256, write_volume
from tests import _forked
from tests._asserts import assert_only_files
from tests._small import ct_volume
from tests.cli._run import call, process
from tests.io._series import assert_nothing_identifying, make_series, save, write_series

BAD = b"<!DOCTYPE html><html>not found</html>"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tree(here):
    """Twelve patients in folders, one volume of them twice, one of another's, and bad ones."""
    for k in range(12):
        write_volume(ct_volume(seed=k), here / "in" / f"p{k:02d}" / "first.nii.gz")
    write_volume(ct_volume(seed=50), here / "in" / "p00" / "second.mha")
    write_volume(ct_volume(seed=1), here / "in" / "p01" / "more.nii")
    write_volume(ct_volume(seed=2), here / "in" / "p03" / "stray.nii")
    (here / "in" / "p04" / "bad.nii.gz").write_bytes(BAD)
    write_series(here / "in" / "dicom", make_series())
    localizer = make_series(1, seed=9)[0]
    localizer.SeriesInstanceUID, localizer.ImageType = "1.2.9", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(localizer, here / "in" / "scout" / "0")
    return here / "in"


def document(*args):
    """Standard output of the program, which is one JSON document."""
    done = process("scan", *args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def by_path(*args):
    code, text = call("scan", *args, "--json")
    assert code == 0, text
    # Progress and warnings, which go to standard error, stand around the document.
    start, end = text.index("{\n"), text.rindex("\n}") + 2
    return {row["path"]: row for row in json.loads(text[start:end])["rows"]}


def images(path, *names):
    tree = json.loads(Path(path).read_text())
    return {e["image"] for name in names for e in tree.get(name, [])}


def test_json_tells_all_of_every_row_and_nothing_else(tree):
    found = document("in", "-o", "out.json")
    assert found.keys() == {"rows", "other_files"}
    rows = {row["path"]: row for row in found["rows"]}
    assert len(rows) == 18
    row = rows["in/p00/second.mha"]
    volume = read_volume("in/p00/second.mha")
    assert row == {
        "path": "in/p00/second.mha",
        "kind": "metaimage",
        "modality": None,
        "verdict": "ok",
        "reason": "",
        "size": [13, 10, 11],
        "spacing_mm": [1.5, 2.0, 2.5],
        "hu_percentiles": {
            str(p): int(np.percentile(volume.voxels, p, method="inverted_cdf")) for p in (1, 50, 99)
        },
        "warnings": list(volume.warnings),
        "sha256": volume_sha256(volume),
        "patient": rows["in/p00/first.nii.gz"]["patient"],
        "same_as": None,
        "list": rows["in/p00/first.nii.gz"]["list"],
    }
    assert rows["in/dicom"]["modality"] == "CT"
    bad = rows["in/p04/bad.nii.gz"]
    assert (bad["verdict"], bad["size"], bad["patient"], bad["list"]) == (
        "refused",
        None,
        None,
        None,
    )
    assert "web page" in bad["reason"]


def test_a_double_is_listed_once_and_patients_who_share_it_stay_together(tree):
    (tree / "a_bad.nii.gz").write_bytes(BAD)
    rows = by_path("in")
    again, stray = rows["in/p01/more.nii"], rows["in/p03/stray.nii"]
    assert (again["same_as"], again["list"]) == ("in/p01/first.nii.gz", None)
    assert (stray["same_as"], stray["list"]) == ("in/p02/first.nii.gz", None)
    for seed in range(8):
        rows = by_path("in", "--seed", seed, "--val-share", 0.3, "--test-share", 0.3)
        assert rows["in/p02/first.nii.gz"]["list"] == rows["in/p03/first.nii.gz"]["list"]
    text = call("scan", "in")[1]
    numbers = [rows[f"in/p0{k}/first.nii.gz"]["patient"] for k in (2, 3)]
    assert f"patients {numbers[0]} and {numbers[1]} are in the same list" in text
    assert text.count("are in the same list") == 1


def test_many_copies_of_one_volume_are_one_line_and_one_warning(here):
    for k in range(8):
        write_volume(ct_volume(seed=1), here / "in" / f"p{k}" / "ct.nii.gz")
    code, text = call("scan", "in", "--val-share", 0, "--test-share", 0)
    assert code == 0
    (warned,) = [line for line in text.splitlines() if line.startswith("warning: ")]
    assert warned.startswith("warning: patients 1, 2, 3, 4, 5 and 3 more are in the same list, ")
    assert [line for line in text.splitlines() if line.startswith("not listed: ")] == [
        "not listed: p1/ct.nii.gz, p2/ct.nii.gz, p3/ct.nii.gz, p4/ct.nii.gz, p5/ct.nii.gz and 2 "
        "more: the same volume as p0/ct.nii.gz"
    ]
    assert "1 different volumes of 1 patients" in text


def test_the_datalist_holds_each_good_volume_once(tree):
    (tree.parent / "lists").mkdir()
    code, text = call("scan", "in", "-o", "lists/ct.json")
    assert code == 0, text
    assert "lists/ct.json: 14 volumes" in text
    found = images("lists/ct.json", "training", "validation", "test")
    assert found == {
        *(f"../in/p{k:02d}/first.nii.gz" for k in range(12)),
        "../in/p00/second.mha",
        "../in/dicom",
    }
    for image in found:
        read_volume(Path("lists") / image)
    assert_only_files(tree.parent / "lists", {"ct.json"})


def test_lists_are_those_that_the_inventory_tells(tree):
    rows = by_path("in", "-o", "out.json", "--seed", 4)
    for name in ("training", "validation", "test"):
        told = {path for path, row in rows.items() if row["list"] == name}
        assert images("out.json", name) == told


def test_more_cases_move_no_patient(tree):
    def lists():
        rows = by_path("in", "--val-share", 0.3, "--test-share", 0.3)
        return {path: row["list"] for path, row in rows.items() if row["list"]}

    before = lists()
    for k in range(20, 30):
        write_volume(ct_volume(seed=k), tree / f"a{k}" / "first.nii.gz")
    write_volume(ct_volume(seed=99), tree / "p05" / "third.nii.gz")
    after = lists()
    assert len(after) == len(before) + 11
    assert after.items() >= before.items()
    assert after["in/p05/third.nii.gz"] == before["in/p05/first.nii.gz"]
    assert len(set(before.values())) == 3


def test_a_pattern_takes_the_patient_from_the_path(here):
    for name in ("siteA_7_x", "siteB_7_y", "other"):
        write_volume(ct_volume(seed=len(name) + ord(name[-1])), here / "in" / f"{name}.nii")
    rows = by_path("in", "--patient", r"site._(\d+)")
    told = {Path(path).stem: row["patient"] for path, row in rows.items()}
    assert told == {"siteA_7_x": 1, "siteB_7_y": 1, "other": None}
    code, text = call("scan", "in", "--patient", r"site._(\d+)", "-o", "out.json")
    assert code == 0
    assert "not listed: other.nii: --patient does not match its path" in text
    names = images("out.json", "training", "validation", "test")
    assert names == {"in/siteA_7_x.nii", "in/siteB_7_y.nii"}
    code, text = call("scan", "in", "--patient", "(")
    assert (code, "not a regular expression" in text) == (2, True)


def test_options_of_reading_apply_and_are_noted(here):
    shifted = ct_volume()
    voxels = (shifted.voxels + 1024).clip(0).astype(np.int16)
    write_volume(type(shifted)(voxels, shifted.grid), here / "in" / "a.nii.gz")
    code, text = call("scan", "in", "-o", "out.json")
    assert (code, "no volume can be used" in text) == (3, True)
    assert not Path("out.json").exists()
    code, text = call("scan", "in")
    assert code == 0
    assert "--hu-offset -1024 corrects that" in text
    code, _ = call("scan", "in", "--hu-offset", "-1024", "-o", "out.json")
    assert code == 0
    assert json.loads(Path("out.json").read_text())["read_options"] == {"hu_offset": -1024.0}


def test_an_existing_datalist_is_replaced_only_when_asked(tree):
    Path("out.json").write_text("{}")
    code, text = call("scan", "in", "-o", "out.json")
    assert (code, "--overwrite" in text) == (2, True)
    assert Path("out.json").read_text() == "{}"
    assert call("scan", "in", "-o", "out.json", "--overwrite")[0] == 0
    assert images("out.json", "training")


def test_bad_cases_are_results(here):
    (here / "bad.nii.gz").write_bytes(BAD)
    assert call("scan", "bad.nii.gz")[0] == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["empty"], 3, "no volumes or DICOM series found"),
        (["missing"], 3, "no such file or folder"),
        (["in", "missing"], 3, "no such file or folder"),
        (["in", "-o", "out.txt"], 2, "give a .json file"),
        (["in", "--val-share", "0.6", "--test-share", "0.6"], 2, "are invalid"),
        (["in", "--val-share", "2"], 2, ""),
        (["in", "--seed", "-1"], 2, ""),
        ([], 2, ""),
        (["in", "-o", "file/out.json"], 7, "cannot write"),
    ],
)
def test_exit_codes(here, args, code, words):
    (here / "empty").mkdir()
    (here / "empty" / "notes.txt").write_text("")
    (here / "file").write_text("")
    write_volume(ct_volume(), here / "in" / "a.nii")
    done = _forked.process("scan", *args)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("out.json").exists()


def test_nothing_identifying_gets_out(here):
    write_series(here / "in" / "a", make_series())
    write_series(here / "in" / "b", [s for k, s in enumerate(make_series(seed=2)) if k != 3])
    shutil.make_archive("in/c", "zip", "in/a")
    for args in (["in"], ["in", "--json"], ["in/c.zip"]):
        done = _forked.process("scan", *args, "-o", "out.json", "--overwrite")
        assert done.returncode == 0, done.stderr
        assert_nothing_identifying(done.stdout + done.stderr + Path("out.json").read_text())


def test_a_warning_of_an_empty_list_names_a_seed_without_one(here):
    for name in "abc":
        write_volume(ct_volume(seed=ord(name)), here / "in" / f"{name}.nii")
    text = call("scan", "in")[1]
    seed = re.search(r"warning: none of 3 patients is in .*; --seed (\d+) fills all lists", text)[1]
    told = document("in", "--seed", seed)
    assert {row["list"] for row in told["rows"]} == {"training", "validation", "test"}
    assert "warning" not in call("scan", "in", "--seed", seed)[1]


def test_an_empty_list_is_warned_of(here):
    write_volume(ct_volume(), here / "in" / "a.nii")
    code, text = call("scan", "in", "--val-share", 0.1, "--test-share", 0)
    assert code == 0
    assert "warning: none of 1 patients is in validation" in text
    assert "use larger shares" in text
    assert "test;" not in text
    assert "warning" not in call("scan", "in", "--val-share", 0, "--test-share", 0)[1]


def test_messages_go_to_stderr_and_the_table_to_stdout(tree):
    done = _forked.process("scan", "in")
    assert "warning: patients" in done.stderr
    assert "warning" not in done.stdout
    assert "12 patients" not in done.stderr
    assert "16 ok, 1 refused, 1 skipped" in done.stdout


def test_scanning_changes_nothing(tree):
    def content():
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tree.rglob("*") if p.is_file()}

    before = content()
    assert call("scan", "in")[0] == 0
    assert content() == before


@pytest.mark.slow
def test_real_data_come_out_as_their_readme_says(real_data):
    found = by_path(real_data / "dicom")
    rows = {Path(path).relative_to(real_data / "dicom").as_posix(): r for path, r in found.items()}
    verdicts = {path.split("/#")[0]: row["verdict"] for path, row in rows.items()}
    assert verdicts == {
        "abdomen_512": "ok",
        "ct_pet_mr_one_study/CT/image": "ok",
        "ct_pet_mr_one_study/PET/image": "skipped",
        "ct_pet_mr_one_study/MR_T1/image": "skipped",
        "head_phantom_mixed_series/S1000": "skipped",
        "head_phantom_mixed_series/S2010": "ok",
        "head_phantom_mixed_series/S4010": "skipped",
        "liver_3_slices": "skipped",
        "missing_slice": "refused",
        "tilt_4_slices": "refused",
    }
    assert rows["abdomen_512"]["size"] == [512, 512, 41]
    assert rows["abdomen_512"]["spacing_mm"][2] == pytest.approx(5)
    # The nine slices of mixed_compression are slices of this very series.
    assert "9 exact duplicates of slices were ignored" in rows["abdomen_512"]["warnings"]
    assert "28.107 to 38.107" in rows["missing_slice"]["reason"]
    found = by_path(real_data / "nifti")
    verdicts = {Path(path).name: row["verdict"] for path, row in found.items()}
    assert {name for name, verdict in verdicts.items() if verdict == "ok"} == {
        "abdomen_3mm.nii.gz",
        "lung_crop.mha",
        "pelvis_float32_qform.nii.gz",
        "spine_crop_pir.nii.gz",
    }
    assert len(verdicts) == 14
