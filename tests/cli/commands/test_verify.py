import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.io import read_volume, write_latent, write_volume
from ct_vae.volume import Volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.io._samples import latent_of
from tests.io._series import MARK, make_series, save, write_series


def told(*paths):
    """Exit code and what is said, once as lines and once as JSON, which agree."""
    code, text = call("verify", *paths)
    again, facts = call("verify", *paths, "--json")
    assert again == code
    rows = json.loads(facts)
    lines = text.splitlines()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(f"{row['status']}: {row['path']}")
        assert row["detail"] in line
    return code, rows


@pytest.fixture
def tree(tmp_path, model_folder):
    """One of everything, in one folder."""
    root = tmp_path / "tree"
    for name in ("a.nii.gz", "b.nii", "c.mha", "d.nrrd"):
        write_volume(ct_volume(), root / "volumes" / name)
    write_latent(latent_of(), root / "latents" / "a_latent.nii.gz")
    write_latent(latent_of("codes"), root / "latents" / "b_latent.nii.gz")
    write_latent(latent_of(), root / "latents" / "c_latent.nii.gz", layout="vector")
    write_latent(latent_of(), root / "latents" / "d_emb.nii.gz", layout="maisi")
    write_series(root / "series", make_series())
    shutil.copytree(model_folder, root / "model")
    (root / "notes.txt").write_text("nothing to verify")
    (root / "config.json").write_text("{}")
    return root


def test_whole_files_of_every_kind_are_ok(tree):
    code, rows = told(tree)
    assert code == 0
    assert {row["status"] for row in rows} == {"ok"}
    kinds = [row["kind"] for row in rows]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "volume": 4,
        "latent": 4,
        "series": 1,
        "model": 1,
    }
    assert any("layout maisi" in row["detail"] for row in rows)


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)


def edit(key):
    def change(path):
        record = json.loads(path.read_text())
        record[key] = {"factor": [2, 4, 4], "scaling_factor": 9.0, "layout": "vector"}[key]
        path.write_text(json.dumps(record))

    return change


def remove(path):
    path.unlink()


DAMAGES = {
    "a cut volume": ("volumes/a.nii.gz", cut, "volumes/a.nii.gz"),
    "a flipped bit": ("volumes/a.nii.gz", flip, "volumes/a.nii.gz"),
    "a cut plain volume": ("volumes/b.nii", cut, "volumes/b.nii"),
    "a flipped MetaImage": ("volumes/c.mha", flip, "volumes/c.mha"),
    "a cut NRRD": ("volumes/d.nrrd", cut, "volumes/d.nrrd"),
    "a flipped latent": ("latents/a_latent.nii.gz", flip, "latents/a_latent.nii.gz"),
    "cut codes": ("latents/b_latent.nii.gz", cut, "latents/b_latent.nii.gz"),
    "a lost latent": ("latents/a_latent.nii.gz", remove, "latents/a_latent.nii.gz"),
    "a lost record": ("latents/a_latent.json", remove, "latents/a_latent.nii.gz"),
    "an edited factor": ("latents/a_latent.json", edit("factor"), "latents/a_latent.nii.gz"),
    "an edited scale": ("latents/a_latent.json", edit("scaling_factor"), "latents/a_latent.nii.gz"),
    "an edited layout": ("latents/a_latent.json", edit("layout"), "latents/a_latent.nii.gz"),
    "a cut record": ("latents/c_latent.json", cut, "latents/c_latent.nii.gz"),
    "a lost JSON": ("latents/d_emb.nii.gz.json", remove, "latents/d_emb.nii.gz"),
    "an edited JSON": ("latents/d_emb.nii.gz.json", edit("factor"), None),
    "flipped weights": ("model/model.safetensors", flip, "model"),
    "lost weights": ("model/model.safetensors", remove, "model"),
    "an edited card": ("model/MODEL_CARD.md", lambda path: path.write_text("better"), "model"),
    "lost sums": ("model/SHA256SUMS", remove, "model"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_told_for_its_file_and_no_other(tree, damage):
    place, act, expected = DAMAGES[damage]
    act(tree / place)
    code, rows = told(tree)
    failed = {row["path"] for row in rows if row["status"] == "failed"}
    # Keys that MAISI does not read may be added to its JSON.
    assert failed == ({str(tree / expected)} if expected else set())
    assert code == (8 if expected else 0)
    for row in rows:
        assert (row["status"] == "failed") == bool(row["exit_code"])


@pytest.mark.parametrize("damage", [d for d in DAMAGES if DAMAGES[d][2]])
def test_a_single_file_that_fails_has_its_own_exit_code(tree, damage):
    place, act, expected = DAMAGES[damage]
    act(tree / place)
    lost = "lost latent" in damage
    code, rows = told(tree / expected)
    assert len(rows) == 1
    assert code == (3 if lost else 4), rows
    assert rows[0]["status"] == "failed"
    assert rows[0]["detail"]


@settings(max_examples=25)
@given(data=st.data())
def test_a_latent_with_any_flipped_bit_fails(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    path = folder / "x_emb.nii.gz"
    write_latent(latent_of(), path, layout="maisi")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert call("verify", path)[0] == 4


def test_a_file_beside_a_latent_leads_to_it(tree):
    for name in ("d_emb.json", "d_emb.nii.gz.json"):
        code, rows = told(tree / "latents" / name)
        assert (code, rows[0]["path"]) == (0, str(tree / "latents" / "d_emb.nii.gz"))
    for name in ("config.json", "SHA256SUMS", "model.safetensors"):
        code, rows = told(tree / "model" / name)
        assert (code, rows[0]["path"]) == (0, str(tree / "model"))


@pytest.mark.parametrize("suffix", ["nii.gz", "mha", "nrrd"])
def test_whether_a_volume_is_ct_does_not_matter(tmp_path, suffix):
    mask = (np.arange(720).reshape(8, 9, 10) % 2).astype(np.int16)
    path = tmp_path / f"mask.{suffix}"
    write_volume(Volume(mask, Grid((8, 9, 10), np.eye(4))), path)
    with pytest.raises(InputError):
        read_volume(path)
    assert told(path)[0] == 0


def test_nor_whether_the_hu_of_a_series_are_known(tmp_path):
    slices = make_series()
    for each in slices:
        del each.RescaleSlope, each.RescaleIntercept
    folder = write_series(tmp_path / "raw", slices)
    with pytest.raises(InputError, match="assume-hu"):
        read_volume(folder)
    assert told(folder)[0] == 0


def test_a_series_is_verified_as_a_folder_as_files_and_as_an_archive(tmp_path):
    folder = write_series(tmp_path / "series", make_series())
    shutil.make_archive(str(tmp_path / "series"), "zip", folder)
    for paths in ([folder], sorted(folder.iterdir()), [tmp_path / "series.zip"]):
        code, rows = told(*paths)
        assert (code, [row["kind"] for row in rows]) == (0, ["series"])
    (named,) = [row["path"] for row in told(folder)[1]]
    assert told(named)[0] == 0
    assert MARK not in call("verify", folder)[1]


def test_a_series_with_a_gap_or_a_cut_slice_fails(tmp_path):
    slices = make_series()
    folder = write_series(tmp_path / "gap", slices[:3] + slices[4:])
    code, rows = told(folder)
    assert code == 4
    assert "missing" in rows[0]["detail"]
    folder = write_series(tmp_path / "cut", slices)
    cut(next(iter(sorted(folder.iterdir()))))
    assert told(folder)[0] == 4
    cut_archive = tmp_path / "cut.zip"
    shutil.make_archive(str(cut_archive.with_suffix("")), "zip", folder)
    cut(cut_archive)
    code, rows = told(cut_archive, write_series(tmp_path / "whole", make_series()))
    assert code == 8
    assert [row["status"] for row in rows] == ["failed", "ok"]


def test_what_makes_no_volume_is_skipped(tmp_path):
    folder = write_series(tmp_path / "series", make_series())
    for k, each in enumerate(make_series(5, seed=3)):
        each.SeriesInstanceUID, each.Modality = "1.2.9.9", "MR"
        save(each, folder / f"other{k}")
    code, rows = told(folder)
    assert code == 0
    assert sorted(row["status"] for row in rows) == ["ok", "skipped"]
    for path in folder.iterdir():
        if not path.name.startswith("other"):
            path.unlink()
    code, text = call("verify", folder)
    assert (code, "nothing to verify" in text) == (3, True)


def test_what_a_folder_holds_and_is_not_read_is_told(tmp_path, monkeypatch):
    write_volume(ct_volume(), tmp_path / "a.nii")
    (tmp_path / "brain.mgz").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"x")
    (tmp_path / "locked").mkdir()
    code, rows = told(tmp_path)
    assert code == 0
    assert {row["path"]: row["status"] for row in rows} == {
        str(tmp_path / "a.nii"): "ok",
        str(tmp_path / "brain.mgz"): "skipped",
    }
    real = os.scandir

    def scandir(folder):
        if Path(folder).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    code, rows = told(tmp_path)
    assert code == 8
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert failed["detail"] == f"{tmp_path / 'locked'} cannot be searched: Permission denied"


def test_nothing_to_verify_is_3(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    for path in (tmp_path, tmp_path / "absent.nii.gz", tmp_path / "absent"):
        assert told(path)[0] == 3


def test_what_is_named_twice_is_verified_once(tree):
    once = told(tree)[1]
    assert told(tree, tree / "latents" / "a_latent.nii.gz", tree / "model")[1] == once


def test_nothing_is_changed(tree):
    def content():
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tree.rglob("*") if p.is_file()}

    before = content()
    told(tree)
    assert content() == before


def test_names_at_urls_may_have_any_characters(tmp_path):
    folder = tmp_path / 'a "quoted" \\t name'
    folder.mkdir()
    write_volume(ct_volume(), folder / "x.nii.gz")
    code, facts = call("verify", f"file://{folder}/x.nii.gz", "--json")
    (row,) = json.loads(facts)
    assert (code, row["path"]) == (0, f"file://{folder}/x.nii.gz")
