"""Commands with inputs and outputs at URLs, on a store in memory and on one that speaks S3."""

import json
import os

import fsspec
import numpy as np
import pytest

from ct_vae.io import read_volume, write_volume
from ct_vae.io.remote import RemoteFile
from tests._small import ct_volume
from tests.cli._run import call
from tests.io._s3_server import s3_on_loopback


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("s3fs")
    with s3_on_loopback() as (store, address), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").clear_instance_cache()
        yield store
        fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture(params=["memory", "s3"])
def root(request, tmp_path):
    """URL of a folder with two volumes and other files."""
    if request.param == "s3":
        store = request.getfixturevalue("s3")
        store.buckets["data"] = {}
    system = fsspec.filesystem(request.param)
    if request.param == "memory":
        system.store.clear()
    for name, seed in (("in/a.nii.gz", 1), ("in/deep/b.mha", 2)):
        write_volume(ct_volume(seed=seed), tmp_path / name)
        system.pipe_file(f"data/{name}", (tmp_path / name).read_bytes())
    system.pipe_file("data/in/note.txt", b"text")
    return f"{request.param}://data"


def names(root):
    system, path = fsspec.core.url_to_fs(root)
    system.invalidate_cache()
    start = system._strip_protocol(path)
    return {found.removeprefix(f"{start}/") for found in system.find(path)}


def content(url):
    with fsspec.open(url, "rb") as file:
        return file.read()


def test_a_batch_is_encoded_decoded_and_counted(root, model_folder, tmp_path):
    code, text = call("encode", model_folder, f"{root}/in", "-o", f"{root}/out")
    assert code == 0, text
    assert f"{root}/out/a_latent.nii.gz (" in text.replace("///", "//")
    assert "/tmp" not in text.replace(str(model_folder), "")
    stems = ("a_latent", "deep/b_latent")
    assert names(f"{root}/out") == {f"{s}{e}" for s in stems for e in (".nii.gz", ".json")}

    # The same latents as of local files.
    assert call("encode", model_folder, tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    for stem in stems:
        local = (tmp_path / "out" / f"{stem}.nii.gz").read_bytes()
        assert content(f"{root}/out/{stem}.nii.gz") == local

    code, text = call("status", f"{root}/out", "--inputs", f"{root}/in")
    assert (code, text.splitlines()[-1]) == (0, "2 done of 2 cases")

    code, text = call("decode", model_folder, f"{root}/out", "-o", f"{root}/decoded")
    assert code == 0, text
    assert names(f"{root}/decoded") == {"a_decoded.nii.gz", "deep/b_decoded.nii.gz"}
    assert call("decode", model_folder, tmp_path / "out", "-o", tmp_path / "decoded")[0] == 0
    (tmp_path / "copy.nii.gz").write_bytes(content(f"{root}/decoded/deep/b_decoded.nii.gz"))
    expected = read_volume(tmp_path / "decoded" / "deep" / "b_decoded.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "copy.nii.gz").voxels, expected.voxels)


def test_results_are_kept_until_the_input_changes(root, model_folder, monkeypatch):
    encode = ("encode", model_folder, f"{root}/in", "-o", f"{root}/out")
    assert call(*encode)[0] == 0
    before = {name: content(f"{root}/out/{name}") for name in names(f"{root}/out")}
    with monkeypatch.context() as patch:
        # Volumes are not read again, so they are not downloaded.
        patch.delattr(RemoteFile, "download")
        code, text = call(*encode)
    assert (code, "encode: 2 kept" in text) == (0, True)
    assert before == {name: content(f"{root}/out/{name}") for name in names(f"{root}/out")}
    system, path = fsspec.core.url_to_fs(f"{root}/in/deep/b.mha")
    system.pipe_file(path, system.cat_file(system._strip_protocol(f"{root}/in/deep/b.mha"))[:-1])
    code, text = call(*encode)
    assert code == 8
    assert "1 kept, 1 failed" in text
    assert f"{root}/in/deep/b.mha" in text.replace("///", "//")


def test_failures_are_listed_at_the_url_and_can_be_done_again(root, model_folder, tmp_path):
    system, path = fsspec.core.url_to_fs(f"{root}/in/deep/b.mha")
    whole = system.cat_file(path)
    system.pipe_file(path, b"nothing")
    encode = ("encode", model_folder, f"{root}/in", "-o", f"{root}/out")
    code, _ = call(*encode)
    assert code == 8
    (failure,) = map(json.loads, content(f"{root}/out/failures.jsonl").splitlines())
    assert failure["case"].endswith("/in/deep/b.mha")
    assert "ct_vae_" not in failure["cause"]
    retry = tmp_path / "retry.jsonl"
    status = ("status", f"{root}/out", "--inputs", f"{root}/in", "--retry", retry)
    code, text = call(*status)
    assert (code, "1 done, 1 failed of 2 cases" in text) == (8, True)
    system.pipe_file(path, whole)
    code, text = call("encode", model_folder, "--from", retry, "-o", f"{root}/out")
    assert code == 0, text
    assert call(*status)[0] == 0
    assert "failures.jsonl" not in names(f"{root}/out")


def test_a_result_never_replaces_an_input(root, model_folder):
    code, text = call("reconstruct", model_folder, f"{root}/in/a.nii.gz", "-o", f"{root}/in")
    assert code == 0, text
    assert "a_reconstruction.nii.gz" in names(f"{root}/in")
    made = f"{root}/in/a_reconstruction.nii.gz"
    system, path = fsspec.core.url_to_fs(made)
    system.copy(path, path.replace("a_reconstruction", "a_reconstruction_reconstruction"))
    inputs = [made, made.replace("a_rec", "a_reconstruction_rec")]
    code, text = call("reconstruct", model_folder, *inputs, "-o", f"{root}/in", "--force")
    assert (code, "an input has this URL" in text) == (2, True)


def test_single_files_and_folders_are_described_and_verified(root, model_folder):
    code, text = call("info", f"{root}/in/deep/b.mha")
    assert (code, "shape: 13, 10, 11" in text) == (0, True)
    assert call("encode", model_folder, f"{root}/in", "-o", f"{root}/out")[0] == 0
    code, text = call("info", f"{root}/out/a_latent.nii.gz", "--json")
    assert (code, json.loads(text[text.index("{") :])["kind"]) == (0, "latent")
    code, text = call("verify", f"{root}/out", "--json")
    found = json.loads(text[text.index("[") :])
    assert (code, {each["status"] for each in found}) == (0, {"ok"})
    stems = {each["path"].removeprefix(f"{found[0]['path'].split('/out/')[0]}/") for each in found}
    assert stems == {"out/a_latent.nii.gz", "out/deep/b_latent.nii.gz"}
    system, path = fsspec.core.url_to_fs(f"{root}/out/a_latent.nii.gz")
    system.pipe_file(path, system.cat_file(path)[:-9])
    code, text = call("verify", f"{root}/out")
    assert code == 8
    assert "/out/a_latent.nii.gz" in text
    assert "ct_vae_" not in text


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["s3://absent/in", "-o", "OUT"], 3, "s3://absent/in: there is no such file"),
        (["s3://private/in", "-o", "OUT"], 4, "s3://private/in cannot be listed: access is denied"),
        (["IN", "-o", "s3://absent/out"], 7, "there is no such file, folder or bucket"),
        (["IN", "-o", "s3://private/out"], 7, "access is denied; check the credentials"),
        (["nothing://a", "-o", "OUT"], 2, "nothing://a: the protocol is not known"),
        (["s3://data/a.nii", "-o", "s3://data/a.nii"], 2, "names a file; -o takes a folder"),
    ],
)
def test_wrong_places_are_told_in_one_line(s3, model_folder, tmp_path, args, code, words):
    write_volume(ct_volume(), tmp_path / "in" / "a.nii")
    places = {"IN": tmp_path / "in", "OUT": tmp_path / "out"}
    got, text = call("encode", model_folder, *(places.get(arg, arg) for arg in args))
    assert (got, words in text) == (code, True), text
    assert "Traceback" not in text


def test_a_store_that_cannot_be_reached_is_told(s3, model_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    code, text = call("encode", model_folder, "s3://data/in", "-o", tmp_path)
    fsspec.filesystem("s3").clear_instance_cache()
    assert code == 4
    assert "check the network and the endpoint, such as AWS_ENDPOINT_URL" in text


def test_an_upload_that_breaks_off_leaves_nothing(s3, tmp_path):
    from ct_vae.errors import OutputError
    from ct_vae.io.remote import upload

    s3.buckets["data"] = {"a": b"before"}
    (tmp_path / "large").write_bytes(os.urandom(110 << 20))
    s3.refuse_parts = True
    try:
        with pytest.raises(OutputError, match="s3://data/a cannot be uploaded"):
            upload(tmp_path / "large", "s3://data/a")
    finally:
        s3.refuse_parts = False
    assert s3.buckets["data"] == {"a": b"before"}
    assert s3.parts == {}
