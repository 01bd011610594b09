"""Rows 28 to 30 of the list of faults: archives, odd names, inputs and outputs that meet."""

import io
import re
import tarfile
import zipfile

import pytest

from ct_vae.io import read_volume, write_volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.faults._doors import accept, contents, left_in, refuse
from tests.io._series import make_series, write_series


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where archives are unpacked; nothing may stay there."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    yield place
    assert list(place.iterdir()) == []


def archive_of(path, members):
    """A zip or tar archive with these members, by name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_28_archives_are_read_and_never_lead_outside(model_folder, tmp_path, scratch, ending):
    slices = contents(write_series(tmp_path / "s", make_series(5)))
    good = {f"s/{k}": content for k, content in enumerate(slices.values())}
    accept(model_folder, archive_of(tmp_path / f"good.{ending}", good))
    for k, name in enumerate(("../escaped", "/tmp/escaped", "a/../../escaped")):
        path = archive_of(tmp_path / f"{k}.{ending}", {**good, name: b"x"})
        refuse(model_folder, path, 4, "leads out of its folder")
    assert not list(tmp_path.rglob("escaped"))


def test_28_links_in_archives_are_refused(model_folder, tmp_path, scratch):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo("link")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    refuse(model_folder, path, 4, "link")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    refuse(model_folder, path, 4, "link")


def test_28_bombs_of_size_and_number_are_stopped(model_folder, tmp_path, scratch, monkeypatch):
    bomb = archive_of(tmp_path / "a.zip", {"a": b"\0" * 2**27})
    assert bomb.stat().st_size < 2**18
    refuse(model_folder, bomb, 4, "unpacks to more than")
    monkeypatch.setattr("ct_vae.io.archive.MAX_MEMBERS", 100)
    many = archive_of(tmp_path / "b.zip", {str(k): b"x" for k in range(101)})
    refuse(model_folder, many, 4, "more than 100 members")


def test_29_any_name_is_mirrored(model_folder, tmp_path):
    odd = ["ä ö", "a.b.c", "line\nbreak", "'quoted' $x", "-o", "日本", "x" * 220]
    source = tmp_path / "in"
    for k, name in enumerate(odd):
        write_volume(ct_volume(seed=k), source / name / f"{name}.nii.gz")
    code, text = call("encode", model_folder, source, "-o", tmp_path / "out")
    assert code == 0, text
    expected = {f"{n}/{n}_latent{end}" for n in odd for end in (".nii.gz", ".json")}
    assert left_in(tmp_path / "out") == expected


def test_29_a_name_too_long_for_its_result_fails_alone(model_folder, tmp_path):
    source = tmp_path / "in"
    write_volume(ct_volume(), source / "good.nii.gz")
    write_volume(ct_volume(), source / f"{'x' * 243}.nii.gz")
    code, text = call("encode", model_folder, source, "-o", tmp_path / "out")
    assert code == 8
    assert "too long" in text.lower()
    names = {"good_latent.nii.gz", "good_latent.json", "failures.jsonl"}
    assert left_in(tmp_path / "out") == names


def test_29_the_same_stem_in_two_folders_is_no_collision_and_two_endings_are(
    model_folder, tmp_path
):
    source = tmp_path / "in"
    for name in ("a/ct.nii.gz", "b/ct.nii.gz"):
        write_volume(ct_volume(), source / name)
    assert call("encode", model_folder, source, "-o", tmp_path / "out")[0] == 0
    assert len(left_in(tmp_path / "out")) == 4
    for name in ("a/ct.nii", "b/ct.nii"):
        write_volume(ct_volume(), source / name)
    code, text = call("encode", model_folder, source, "-o", tmp_path / "none")
    assert code == 2
    # Every clash is told at once, with both of its files.
    for name in ("a/ct.nii", "a/ct.nii.gz", "b/ct.nii", "b/ct.nii.gz"):
        assert re.search(re.escape(str(source / name)) + r"(?!\.gz)", "".join(text.splitlines()))
    assert not (tmp_path / "none").exists()
    one, two = source / "a" / "ct.nii.gz", source / "b" / "ct.nii.gz"
    assert call("encode", model_folder, one, two, "-o", tmp_path / "none")[0] == 2
    assert not (tmp_path / "none").exists()


def test_30_output_may_be_in_or_be_the_input_and_inputs_stay(model_folder, tmp_path):
    source = tmp_path / "in"
    write_volume(ct_volume(), source / "a.nii.gz")
    before = contents(source)
    # Twice: the second time the results of the first lie among the inputs.
    for out in (source, source, source / "out", source / "out"):
        assert call("encode", model_folder, source, "-o", out)[0] == 0
    assert call("decode", model_folder, source, "-o", source)[0] in {0, 2}
    assert call("encode", model_folder, source, "-o", source)[0] == 0
    after = contents(source)
    assert {name: after[name] for name in before} == before
    latents = {name for name in left_in(source) if name.endswith("_latent.nii.gz")}
    assert latents == {"a_latent.nii.gz", "out/a_latent.nii.gz"}


def test_30_a_result_never_replaces_an_input(model_folder, tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    assert call("encode", model_folder, tmp_path / "a.nii.gz", "-o", tmp_path)[0] == 0
    (tmp_path / "a_latent.nii.gz").rename(tmp_path / "a_decoded_latent.nii.gz")
    (tmp_path / "a_latent.json").rename(tmp_path / "a_decoded_latent.json")
    write_volume(ct_volume(seed=1), tmp_path / "a_latent.nii.gz")
    before = contents(tmp_path)
    code, text = call(
        "encode", model_folder, tmp_path / "a.nii.gz", tmp_path / "a_latent.nii.gz", "-o", tmp_path
    )
    assert code == 2
    assert "an input has this name" in text
    assert contents(tmp_path) == before


def test_30_links_in_circles_and_read_only_inputs_do_no_harm(model_folder, tmp_path):
    source = tmp_path / "in"
    write_volume(ct_volume(), source / "a.nii.gz")
    (source / "circle").symlink_to(source)
    for path, mode in ((source / "a.nii.gz", 0o444), (source, 0o555)):
        path.chmod(mode)
    try:
        code, text = call("encode", model_folder, source, "-o", tmp_path / "out")
    finally:
        source.chmod(0o755)
    assert code == 0, text
    assert {"a_latent.nii.gz", "a_latent.json"} <= left_in(tmp_path / "out")
    assert not any("circle" in name for name in left_in(tmp_path / "out"))
    assert read_volume(source / "a.nii.gz").grid == ct_volume().grid


def test_30_a_link_to_itself_fails_alone(model_folder, tmp_path):
    source = tmp_path / "in"
    write_volume(ct_volume(), source / "a.nii.gz")
    (source / "self.nii.gz").symlink_to("self.nii.gz")
    code, text = call("encode", model_folder, source, "-o", tmp_path / "out")
    assert code == 8, text
    assert "self.nii.gz" in text
    names = {"a_latent.nii.gz", "a_latent.json", "failures.jsonl"}
    assert left_in(tmp_path / "out") == names


def test_30_a_link_to_itself_is_no_series_to_be_like(model_folder, tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    out = tmp_path / "latents"
    assert call("encode", model_folder, tmp_path / "a.nii.gz", "-o", out)[0] == 0
    (tmp_path / "self").symlink_to("self")
    words = ("--format", "dicom", "--like", tmp_path / "self")
    code, text = call("decode", model_folder, out, "-o", tmp_path / "back", *words)
    assert code == 4, text
    assert str(tmp_path / "self") in text
    assert not (tmp_path / "back").exists()
