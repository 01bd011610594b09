from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from ct_vae.errors import ConfigError, InputError, NoInputError, OutputError
from ct_vae.io import remote
from ct_vae.io.remote import canonical_url, download, is_url, list_files, look_up, upload


def put(system, **files):
    for name, text in files.items():
        system.pipe_file(f"/bucket/{name}", text.encode())


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("s3://bucket/a.nii.gz", True),
        ("memory://a", True),
        ("gs://b", True),
        ("scan.nii.gz", False),
        ("/s3:/a", False),
        ("a/b://c", False),
        ("C://a", False),
    ],
)
def test_urls_are_told_from_paths(text, is_one):
    assert is_url(text) is is_one


def test_files_folders_and_patterns_are_listed(memory):
    for name in ("a.nii", "b.txt", "deep/er/c.nii"):
        memory.pipe_file(f"/bucket/{name}", b"x" * len(name))
    root = canonical_url("memory://bucket/")

    def names(url):
        return [file.url.removeprefix(f"{root}/") for file in list_files(url)]

    assert (
        names("memory://bucket") == names("memory://bucket/") == ["a.nii", "b.txt", "deep/er/c.nii"]
    )
    assert names("memory://bucket/a.nii") == ["a.nii"]
    assert names("memory://bucket/**/*.nii") == ["a.nii", "deep/er/c.nii"]
    assert names("memory://bucket/*.mha") == []
    assert [file.size for file in list_files("memory://bucket/a.nii")] == [5]
    with pytest.raises(NoInputError, match=r"memory://elsewhere: there is no such file"):
        list_files("memory://elsewhere")


def test_what_is_uploaded_is_downloaded(memory, tmp_path):
    (tmp_path / "a").write_bytes(b"voxels")
    upload(tmp_path / "a", "memory://bucket/x/a")
    found = look_up("memory://bucket/x/a")
    (tmp_path / "down").mkdir()
    assert found.download(tmp_path / "down").read_bytes() == b"voxels"
    with pytest.raises(NoInputError, match="bucket/x/b: there is no such file"):
        download("memory://bucket/x/b", tmp_path / "b")


def test_a_file_that_changed_since_it_was_listed_is_not_taken(memory, tmp_path):
    put(memory, a="before")
    (found,) = list_files("memory://bucket/a")
    put(memory, a="longer than before")
    with pytest.raises(InputError, match="18 bytes were read instead of 6"):
        found.download(tmp_path)


def test_files_outside_object_stores_are_renamed_when_they_are_complete(tmp_path, monkeypatch):
    (tmp_path / "new").write_bytes(b"new" * 1000)
    target = tmp_path / "out" / "a"
    url = target.as_uri()
    upload(tmp_path / "new", url)
    assert target.read_bytes() == b"new" * 1000
    (tmp_path / "newer").write_bytes(b"newer")

    def break_off(_, path, place, **__):
        assert place != str(target)
        Path(place).write_bytes(b"ne")
        raise OSError("the disk is full")

    monkeypatch.setattr(LocalFileSystem, "put_file", break_off)
    with pytest.raises(OutputError, match=r"a cannot be uploaded: the disk is full"):
        upload(tmp_path / "newer", url)
    assert {path.name for path in target.parent.iterdir()} == {"a"}
    assert target.read_bytes() == b"new" * 1000


@pytest.mark.parametrize(
    ("raised", "expected", "words"),
    [
        (ImportError("Install s3fs"), ConfigError, r"pip install 'ct_vae\[remote\]'"),
        (PermissionError("Forbidden"), InputError, "access is denied; check the credentials"),
        (FileNotFoundError("bucket"), NoInputError, "no such file, folder or bucket"),
        (TimeoutError(), InputError, "TimeoutError; check the network and the endpoint"),
        (
            RuntimeError("Unable to\nlocate credentials"),
            InputError,
            "locate credentials; check the cr",
        ),
    ],
)
def test_every_error_of_a_store_is_one_line(monkeypatch, raised, expected, words):
    def fail(_):
        raise raised

    monkeypatch.setattr(remote, "_open_store", fail)
    with pytest.raises(expected, match=words) as caught:
        list_files("s3://bucket/a")
    assert "s3://bucket/a" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_protocols_are_refused():
    with pytest.raises(ConfigError, match="nothing://a: the protocol is not known"):
        list_files("nothing://a")


@pytest.mark.parametrize("name", ["a [1]", "what?", "all*"])
def test_a_name_with_wildcards_is_a_name_where_there_is_one(memory, name):
    put(memory, **{f"{name}/x.nii": "x", "a 1/y.nii": "y", "what!/y.nii": "y", "all1/y.nii": "y"})
    for url in (f"memory://bucket/{name}", f"memory://bucket/{name}/"):
        assert [file.url for file in list_files(url)] == [canonical_url(url) + "/x.nii"]
    assert len(list_files(f"memory://bucket/{name}/x.nii")) == 1
    assert [file.name for file in list_files("memory://bucket/a [0-9]/*.nii")] == ["y.nii"]


def test_a_file_of_unknown_size_is_listed(memory, monkeypatch):
    put(memory, a="voxels")
    monkeypatch.setattr(
        type(memory),
        "info",
        lambda _, path: {"name": path, "size": None, "type": "file"},
    )
    assert [file.size for file in list_files("memory://bucket/a")] == [None]


def test_processes_that_upload_the_same_file_do_not_share_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "new").write_bytes(b"new")
    places = []
    put_file = LocalFileSystem.put_file

    def noted(system, path, place, **given):
        places.append(place)
        return put_file(system, path, place, **given)

    monkeypatch.setattr(LocalFileSystem, "put_file", noted)
    for _ in range(2):
        upload(tmp_path / "new", (tmp_path / "out" / "a").as_uri())
    assert len(set(places)) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


@pytest.mark.parametrize("url", ["memory://", "memory:///", "file:///", "file:////"])
def test_a_protocol_alone_is_refused(url):
    with pytest.raises(ConfigError, match=f"^{url} is not a complete URL"):
        canonical_url(url)
