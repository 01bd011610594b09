import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError, NoInputError
from ct_vae.find_volumes.cases import discover, matches_part
from ct_vae.io import write_latent, write_volume
from ct_vae.io.formats import path_kind
from tests.io._samples import ct_volume, latent_of


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def keys(*inputs, **options):
    return [case.key for case in discover(list(inputs), **options)]


def test_a_folder_is_searched_to_any_depth_in_order(tmp_path):
    touch(tmp_path, "b/2.nii", "b/10.nii.gz", "a.mha", "c.nrrd", "b/c/d/E.NII.GZ", "notes.txt")
    assert keys(tmp_path) == ["a", "b/10", "b/2", "b/c/d/E", "c"]
    assert discover([tmp_path])[0].path == tmp_path / "a.mha"


def test_a_file_is_taken_as_named_whatever_its_suffix(tmp_path):
    touch(tmp_path, "a.b.c.nii.gz", "scan", "x.img")
    for name, key in [("a.b.c.nii.gz", "a.b.c"), ("scan", "scan"), ("x.img", "x")]:
        assert keys(tmp_path / name) == [key]


def test_a_relative_input_gives_relative_paths(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.nii", "in/b/c.nii")
    monkeypatch.chdir(tmp_path)
    assert [str(case.path) for case in discover(["in"])] == ["in/a.nii", "in/b/c.nii"]
    assert keys(".") == ["in/a", "in/b/c"]
    assert keys("in/../in") == ["a", "b/c"]
    assert keys("*/a.nii") == ["in/a"]


@pytest.mark.parametrize("name", ["with space", "döt.ted", "new\nline", "[1]", "-o", "a" * 240])
def test_any_name_keeps_its_key(tmp_path, name):
    touch(tmp_path, f"{name}.nii.gz", f"{name}/{name}.nii")
    assert set(keys(tmp_path)) == {name, f"{name}/{name}"}
    assert keys(tmp_path / f"{name}.nii.gz") == [name]


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, "a.nii", ".b.nii", ".c/d.nii", "._a.nii", ".a.nii.gz.0123abcd.tmp")
    assert keys(tmp_path) == ["a"]
    assert keys(tmp_path / "*") == ["a"]
    assert keys(tmp_path / ".b.nii") == [".b"]


def test_links_are_followed_and_circles_end(tmp_path):
    touch(tmp_path, "real/a.nii")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "up").symlink_to("..")
    (tmp_path / "real" / "self").symlink_to("self")
    (tmp_path / "z.nii").symlink_to("real/a.nii")
    assert keys(tmp_path) == ["link/a", "z"]


def test_a_link_to_nowhere_is_a_case_that_will_fail_by_name(tmp_path):
    (tmp_path / "a.nii").symlink_to("gone")
    assert keys(tmp_path) == ["a"]
    assert keys(tmp_path / "a.nii") == ["a"]


def test_folders_and_pipes_named_like_images_are_no_images(tmp_path):
    touch(tmp_path, "folder.nii/b.nii")
    os.mkfifo(tmp_path / "pipe.nii")
    assert keys(tmp_path) == ["folder.nii/b"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.nii", ["a"]),
        ("p*/ct.nii", ["p1/ct", "p2/ct"]),
        ("p?/**/*.nii", ["p1/ct", "p1/deep/er/x", "p2/ct"]),
        ("**/*.nii", ["a", "p1/ct", "p1/deep/er/x", "p2/ct"]),
        ("**", ["a", "p1/ct", "p1/deep/er/x", "p2/ct"]),
        ("p[2]", ["p2/ct"]),
        ("p1/d*", ["deep/er/x"]),
        ("*", ["a", "p1/ct", "p1/deep/er/x", "p2/ct"]),
        ("*/deep/*/x.nii", ["p1/deep/er/x"]),
    ],
)
def test_patterns_are_expanded_and_keys_are_below_their_fixed_part(tmp_path, pattern, expected):
    touch(tmp_path, "a.nii", "p1/ct.nii", "p1/deep/er/x.nii", "p2/ct.nii", "p2/ct.txt")
    assert keys(tmp_path / pattern) == expected


def test_a_name_with_brackets_wins_over_the_pattern(tmp_path):
    touch(tmp_path, "ct[1].nii", "ct1.nii", "s[1]/a.nii", "s1/b.nii")
    assert keys(tmp_path / "ct[1].nii") == ["ct[1]"]
    assert keys(tmp_path / "s[1]") == ["a"]
    assert keys(tmp_path / "s[1]" / "*") == ["a"]
    assert keys(tmp_path / "ct[12].nii") == ["ct1"]


def test_what_is_named_twice_is_done_once(tmp_path):
    touch(tmp_path, "a.nii", "b/c.nii")
    assert keys(tmp_path, tmp_path / "a.nii", tmp_path / "*", tmp_path / "b" / ".." / "a.nii") == [
        "a",
        "b/c",
    ]


@pytest.mark.parametrize(
    ("names", "inputs"),
    [
        (["x/a.nii", "y/a.nii"], ["x", "y"]),
        (["x/a.nii", "y/a.nii"], ["x/a.nii", "y/a.nii"]),
        (["x/a.nii", "x/a.nii.gz"], ["x"]),
        (["x/a.nii", "x/a.mha", "x/b.nii"], ["x"]),
    ],
)
def test_two_files_with_one_key_are_refused_with_both_names(tmp_path, names, inputs):
    touch(tmp_path, *names)
    with pytest.raises(ConfigError) as caught:
        discover([tmp_path / name for name in inputs])
    for name in names[:2]:
        assert str(tmp_path / name) in caught.value.cause


def test_nothing_found_names_what_was_searched(tmp_path):
    touch(tmp_path, "full/a.nii", "empty/notes.txt")
    for wrong, reason in [
        ("empty", r"no volumes found among files named \.nii\.gz, \.nii, \.mha, \.mhd, \.nrrd"),
        ("*.png", "no volumes found"),
        ("missing", "no such file or folder"),
        ("missing/*.nii", "no such file or folder"),
        ("full/missing.nii", "no such file or folder"),
    ]:
        with pytest.raises(NoInputError, match=reason) as caught:
            discover([tmp_path / "full", tmp_path / wrong])
        assert str(tmp_path / wrong) in caught.value.cause
    with pytest.raises(NoInputError, match="no input"):
        discover([])
    for impossible in ("null\0byte", "n" * 300):
        with pytest.raises(NoInputError):
            discover([tmp_path / impossible])


def test_latents_and_volumes_are_distinguished_by_their_record(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    write_volume(ct_volume(), tmp_path / "of_latent_disease_latent.nii.gz")
    write_latent(latent_of(), tmp_path / "a_latent.nii.gz")
    write_latent(latent_of("codes"), tmp_path / "sub" / "renamed.nii")
    write_latent(latent_of(), tmp_path / "alone_latent.nii.gz")
    (tmp_path / "alone_latent.json").unlink()
    write_latent(latent_of(), tmp_path / "broken_latent.nii.gz")
    (tmp_path / "broken_latent.nii.gz").write_bytes(b"")
    assert keys(tmp_path) == ["a", "of_latent_disease_latent"]
    latents = ["a_latent", "alone_latent", "broken_latent", "sub/renamed"]
    assert keys(tmp_path, latents=True) == latents
    assert keys(tmp_path / "*latent*", latents=True) == latents[:3]
    assert path_kind(tmp_path / "missing.nii") != "latent"


def test_records_in_a_list_expanded_by_the_shell_are_left_out(tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.nii.gz")
    assert keys(*sorted(tmp_path.iterdir()), latents=True) == ["a_latent"]


def test_another_choice_of_suffixes_is_kept_to(tmp_path):
    touch(tmp_path, "a.nii", "b.dcm")
    assert keys(tmp_path, suffixes=(".dcm",)) == ["b"]


def test_a_search_opens_each_file_once(tmp_path, monkeypatch):
    for name in ("a.nii.gz", "b.nii", "c.mha"):
        write_volume(ct_volume(), tmp_path / name)
    opened = []
    original = Path.open

    def counting(path, *args, **kwargs):
        opened.append(path.name)
        return original(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counting)
    assert len(discover([tmp_path])) == 3
    assert sorted(name for name in opened if "json" not in name) == ["a.nii.gz", "b.nii", "c.mha"]


NAMES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5)
PATTERNS = st.lists(st.sampled_from(["a", "*", "?", "**", "[ab]b"]), max_size=5)


def banal(parts, pattern):
    """Whether the whole of a path matches, by trying everything."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return banal(parts, pattern[1:]) or bool(parts and banal(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and banal(parts[1:], pattern[1:])


@given(NAMES, PATTERNS)
def test_a_pattern_matches_a_path_or_a_folder_above_it(parts, pattern):
    whole = any(banal(parts[:n], pattern) for n in range(1, len(parts) + 1))
    assert matches_part(parts, pattern) == (whole or not pattern)


def test_paths_may_be_of_any_depth():
    deep = ["d"] * 3000
    assert matches_part([*deep, "a.nii"], ["**", "*.nii"])
    assert not matches_part([*deep, "a.nii"], ["**", "*.mha"])


def test_a_record_alone_is_refused_as_such(tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.nii.gz")
    with pytest.raises(NoInputError, match=r"a_latent.json: is the record of a latent"):
        discover([tmp_path / "a_latent.json"], latents=True)


def test_volumes_that_are_expected_to_be_read_are_reported_as_warnings(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    for name in ("b.mgz", "c.npy", "d.txt"):
        (tmp_path / name).write_bytes(b"x")
    lines = []
    discover([tmp_path], report=lines.append)
    unread, maybe = sorted(lines, reverse=True)
    assert unread.startswith(f"warning: {tmp_path / 'b.mgz'}: not read: a FreeSurfer volume")
    assert maybe.startswith(f"{tmp_path / 'c.npy'}: ")


def test_volumes_of_other_programs_are_not_expected_to_be_latents(tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.nii.gz")
    for name in ("b.mgz", "c_latent.nii.xz"):
        (tmp_path / name).write_bytes(b"x")
    found = discover([tmp_path], latents=True)
    assert [case.key for case in found] == ["a_latent"]
    assert {each.path.name: each.meant for each in found.left_out} == {
        "b.mgz": False,
        "c_latent.nii.xz": True,
    }
