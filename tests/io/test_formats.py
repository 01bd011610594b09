import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

from ct_vae.batch import verify
from ct_vae.cli.commands.info import _facts
from ct_vae.find_volumes.cases import discover
from ct_vae.find_volumes.inventory import inspect
from ct_vae.find_volumes.items import find_items
from ct_vae.io import ReadOptions, read_volume, write_latent, write_volume
from ct_vae.io.formats import kind_and_origin, path_kind
from ct_vae.preprocess.reader import CTReader
from tests._small import ct_volume
from tests.io._samples import latent_of
from tests.io._series import make_series, write_series

NAMES = ("case.nii.gz", "case.nii", "case.mha", "case.zip", "case.dcm", "case", "case.bin")


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Bytes of one file of each kind that is told by its content alone."""
    folder = tmp_path_factory.mktemp("contents")
    made = {}
    for kind, name in (
        ("nifti", "a.nii"),
        ("metaimage", "a.mha"),
        ("nrrd", "a.nrrd"),
    ):
        write_volume(ct_volume((6, 5, 4)), folder / name)
        made[kind] = (folder / name).read_bytes()
    write_latent(latent_of(), folder / "a_latent.nii")
    made["latent"] = (folder / "a_latent.nii").read_bytes()
    series = write_series(folder / "s", make_series(4, (8, 8)))
    slices = sorted(series.iterdir())
    made["dicom"] = slices[0].read_bytes()
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive, tarfile.open(fileobj=tarred, mode="w") as tar:
        for path in slices:
            archive.write(path, path.name)
            tar.add(path, path.name)
    made["archive"] = zipped.getvalue()
    return {
        **{(kind, "plain"): data for kind, data in made.items()},
        ("archive", "tar"): tarred.getvalue(),
        ("archive", "tar.gz"): gzip.compress(tarred.getvalue()),
        ("archive", "tar.xz"): lzma.compress(tarred.getvalue()),
        ("nifti", "gzip"): gzip.compress(made["nifti"]),
        ("latent", "gzip"): gzip.compress(made["latent"]),
        ("unknown", "gzipped dicom"): gzip.compress(made["dicom"]),
        ("unknown", "cut gzip"): gzip.compress(made["nifti"])[:9],
        ("unknown", "empty"): b"",
        ("unknown", "text"): b"hello",
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_kind_of_a_file_follows_from_its_content_whatever_its_name(contents, tmp_path, name):
    path = tmp_path / name
    for (kind, form), content in contents.items():
        path.write_bytes(content)
        assert path_kind(path) == kind, form


def test_coded_latents_are_told_by_their_content(tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.latz")
    content = (tmp_path / "a_latent.latz").read_bytes()
    assert path_kind(tmp_path / "a_latent.latz") == "latent"
    assert path_kind(tmp_path / "a_latent.latz.json") == "record"
    (tmp_path / "b.dat").write_bytes(content)
    assert path_kind(tmp_path / "b.dat") == "latent"
    (tmp_path / "b.dat").write_bytes(b"x" + content)
    assert path_kind(tmp_path / "b.dat") == "unknown"


def test_files_next_to_each_other_tell_records_latents_and_models(tmp_path, model_folder):
    write_latent(latent_of(), tmp_path / "a_latent.nii.gz")
    assert path_kind(tmp_path / "a_latent.json") == "record"
    # The record beside it makes a file a latent, be it damaged or not.
    (tmp_path / "a_latent.nii.gz").write_bytes(b"cut")
    assert path_kind(tmp_path / "a_latent.nii.gz") == "latent"
    assert path_kind(model_folder) == "model"
    assert {path_kind(path) for path in model_folder.iterdir()} == {"model"}


def test_folders_series_other_json_and_paths_that_do_not_exist(tmp_path):
    assert path_kind(tmp_path) == "folder"
    assert path_kind(tmp_path / "#s001_0a") == "series"
    assert path_kind(tmp_path / "gone.nii.gz") == "unknown"
    (tmp_path / "run.json").write_text("{}")
    assert path_kind(tmp_path / "run.json") == "json"
    # The checksums of a data set make no model of it.
    (tmp_path / "SHA256SUMS").write_text("00  case.nii.gz\n")
    assert path_kind(tmp_path) == "folder"


def test_a_file_that_cannot_be_opened_is_unknown(tmp_path):
    loop = tmp_path / "loop.nii"
    loop.symlink_to(loop)
    assert path_kind(loop) == "unknown"
    assert not kind_and_origin(loop)[1]


@pytest.mark.parametrize(
    ("kind", "form"),
    [("nifti", "plain"), ("metaimage", "plain"), ("nrrd", "plain"), ("archive", "plain")],
)
@pytest.mark.parametrize("name", ["case1.nii.gz", "case1.nrrd"])
def test_every_reader_and_command_takes_a_misnamed_file_for_the_same(
    contents, tmp_path, kind, form, name
):
    path = tmp_path / name
    path.write_bytes(contents[kind, form])
    options = ReadOptions(assume_hu=True)
    volume = read_volume(path, options)
    for given in (tmp_path, path):
        (case,) = discover([given])
        assert case.read(options).grid.shape == volume.grid.shape
        (item,) = find_items([given], options).items
        (row,) = inspect(item, options)
        assert (row.verdict, row.size) == ("ok", volume.grid.shape), row.reason
        (found,) = verify.find_items([given])
        assert verify.verify_item(found).status == "ok"
    facts = _facts(path)
    assert "volume" in facts["kind"]
    assert tuple(facts["shape"]) == volume.grid.shape
    assert CTReader(assume_hu=True).verify_suffix(path)
