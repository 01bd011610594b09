from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest

from ct_vae.errors import InputError, NoInputError
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES
from ct_vae.find_volumes.remote_cases import local_copies, remote_case, remote_cases
from ct_vae.io import read_volume, write_volume
from ct_vae.io.remote import canonical_url
from tests._loopback import Answers, on_loopback
from tests.io._itk_files import write_itk
from tests.io._samples import ct_volume

ROOT = canonical_url("memory://bucket")
FILES = (
    "a.nii.gz",
    "deep/b.mha",
    "c_latent.nii.gz",
    "c_latent.json",
    "d_decoded.nii.gz",
    "e.dcm",
    "f.zip",
    "g.mhd",
    "g.raw",
)


@pytest.fixture
def store(memory):
    for name in FILES:
        memory.pipe_file(f"/bucket/{name}", name.encode())
    return memory


def found(url, latents=False):
    endings = ("_latent.nii.gz", "_latent.json") if latents else VOLUME_SUFFIXES
    return remote_cases(url, latents, endings)


def test_every_file_of_a_folder_is_a_case_or_left_out_with_a_reason(store):
    result = found(ROOT)
    assert [case.key for case in result.cases] == ["a", "deep/b", "g"]
    kinds = {each.path.name: each.kind for each in result.left_out}
    assert kinds["c_latent.nii.gz"] == "latent"
    assert kinds["d_decoded.nii.gz"] == "decoded"
    assert kinds["e.dcm"] == "unread"
    assert kinds["f.zip"] == "archive"
    # The voxels of a header are part of its case.
    assert len(result.cases) + len(result.left_out) == len(FILES) - 1


def test_archives_are_cases_where_a_pattern_names_them(store):
    assert [case.key for case in found(f"{ROOT}/*.zip").cases] == ["f"]
    assert [case.key for case in found(f"{ROOT}/f.zip").cases] == ["f"]


def test_a_header_brings_its_voxels_and_a_latent_its_record(store):
    (case,) = [case for case in found(ROOT).cases if case.key == "g"]
    assert [url.rsplit("/", 1)[1] for url in case.remote.companions] == ["g.raw"]
    (latent,) = [c for c in found(ROOT, latents=True).cases if c.path.name.endswith(".gz")]
    assert [url.rsplit("/", 1)[1] for url in latent.remote.companions] == ["c_latent.json"]
    again = remote_case(f"{ROOT}/g.mhd", "key")
    assert (again.key, again.remote.companions) == ("key", case.remote.companions)


def test_nothing_is_an_error(store):
    with pytest.raises(NoInputError):
        found("memory://elsewhere")


def test_copies_are_read_and_removed_and_errors_name_the_url(store, tmp_path):
    (tmp_path / "itk").mkdir()
    for path in (write_itk(tmp_path / "itk" / "h.mhd"), tmp_path / "itk" / "h.mhd"):
        store.put_file(str(path), f"/bucket/{path.name}")
    write_volume(ct_volume(), tmp_path / "i.nii.gz")
    with local_copies([f"{ROOT}/h.mhd", tmp_path / "i.nii.gz"]) as (paths, renamed):
        assert paths[1] == tmp_path / "i.nii.gz"
        np.testing.assert_array_equal(read_volume(paths[0]).voxels, read_volume(paths[1]).voxels)
        assert renamed(str(paths[0])) == f"{ROOT}/h.mhd"
    assert not paths[0].exists()
    with (
        pytest.raises(InputError, match=f"^{ROOT}/a.nii.gz: "),
        local_copies([f"{ROOT}/a.nii.gz"]) as (paths, _),
    ):
        read_volume(paths[0])


def test_local_paths_stay_as_they_are(tmp_path):
    with local_copies([tmp_path]) as (paths, renamed):
        assert (paths, renamed("a")) == ([tmp_path], "a")


def test_a_folder_with_wildcards_in_its_name_is_searched(memory):
    memory.pipe_file("/bucket/run [1]/deep/a.nii.gz", b"a")
    memory.pipe_file("/bucket/run [1]/b.zip", b"b")
    result = found(f"{ROOT}/run [1]")
    assert [case.key for case in result.cases] == ["deep/a"]
    assert [each.kind for each in result.left_out] == ["archive"]


@pytest.mark.parametrize(
    ("latent", "record"),
    [("c_latent.nii.gz", "c_latent.json"), ("d_latent.latz", "d_latent.latz.json")],
)
def test_a_record_brings_its_latent(memory, latent, record):
    memory.pipe_file(f"/bucket/{latent}", b"latent")
    memory.pipe_file(f"/bucket/{record}", b"{}")
    with local_copies([f"{ROOT}/{record}"]) as (paths, _):
        assert paths[0].read_bytes() == b"{}"
        assert paths[0].with_name(latent).read_bytes() == b"latent"


def test_each_of_many_copies_is_named_by_its_own_url(memory):
    for number in range(12):
        memory.pipe_file(f"/bucket/{number}/x", b"x")
    urls = [f"{ROOT}/{number}/x" for number in reversed(range(12))]
    with local_copies(urls) as (paths, renamed):
        assert [renamed(str(path)) for path in paths] == urls


@pytest.mark.parametrize(("header", "voxels"), [("h.hdr", "h.img"), ("h.nhdr", "h.raw.gz")])
def test_the_voxels_of_a_header_are_not_left_out(memory, header, voxels):
    for name in (header, voxels, "alone.img"):
        memory.pipe_file(f"/bucket/{name}", b"x")
    result = found(ROOT)
    assert [case.key for case in result.cases] == ["h"]
    assert [(each.path.name, each.meant) for each in result.left_out] == [("alone.img", True)]


@pytest.mark.parametrize(
    ("pattern", "latents", "companion"),
    [
        ("*.mhd", False, "g.raw"),
        ("*/*.mhd", False, "g.raw"),
        ("*_latent.nii.gz", True, "c_latent.json"),
    ],
)
def test_patterns_that_match_headers_bring_their_voxels(memory, pattern, latents, companion):
    folder = "/bucket/run [1]/x" if "/" in pattern else "/bucket/run [1]"
    for name in ("g.mhd", "g.raw", "c_latent.nii.gz", "c_latent.json"):
        memory.pipe_file(f"{folder}/{name}", b"x")
    (case,) = found(f"{ROOT}/run [[]1]/{pattern}", latents).cases
    assert [url.rsplit("/", 1)[1] for url in case.remote.companions] == [companion]


def test_the_query_of_http_is_not_in_names(tmp_path):
    """A query may hold a signature, which must not get into the names of results."""
    pytest.importorskip("aiohttp")
    write_volume(ct_volume((8, 8, 8)), tmp_path / "a.nii.gz")

    class Handler(Answers, BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer((tmp_path / "a.nii.gz").read_bytes())

        def do_HEAD(self):
            self.do_GET()

    with on_loopback(Handler) as address:
        url = f"{address}/a.nii.gz?signature=b/c"
        (case,) = found(url).cases
        assert case.key == "a"
        assert case.remote.url == url
        (tmp_path / "copies").mkdir()
        assert case.remote.download(tmp_path / "copies").name == "a.nii.gz"
        with local_copies([url]) as (paths, _):
            assert paths[0].name == "a.nii.gz"
            assert read_volume(paths[0]).voxels.shape == (8, 8, 8)
