import pytest

from ct_vae.io import write_latent, write_volume
from tests._small import ct_volume, small_codec
from tests.cli._run import call
from tests.evaluation.report._report import blurred, data_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show")
    volume = ct_volume()
    write_volume(volume, folder / "case.nii.gz")
    write_volume(blurred(volume), folder / "case_recon.nii.gz")
    write_latent(small_codec().encode(volume), folder / "case_latent.nii.gz")
    return folder


@pytest.mark.parametrize(
    ("names", "views"),
    [
        (["case.nii.gz"], ["original"]),
        (["case_latent.nii.gz"], ["latent"]),
        (["case_latent.json", "case.nii.gz"], ["original", "latent"]),
        (
            ["case.nii.gz", "case_latent.nii.gz", "case_recon.nii.gz"],
            ["original", "latent", "reconstruction", "error"],
        ),
    ],
)
def test_files_are_recognized_by_content(files, tmp_path, names, views):
    page = tmp_path / "page.html"
    code, text = call("show", *(files / name for name in names), "-o", page)
    assert code == 0, text
    written = page.read_text("utf-8")
    assert data_of(written)["views"] == views
    # Names of files may be those of patients.
    assert "case_" not in written
    assert str(files) not in written


@pytest.mark.parametrize(
    ("names", "output", "code", "words"),
    [
        (["case.nii.gz"], "page", 2, "page.html"),
        (["case.nii.gz"] * 3, "page.html", 2, "got 3 volumes and 0 latents"),
        (["case_latent.nii.gz"] * 2, "page.html", 2, "got 0 volumes and 2 latents"),
        (["absent.nii.gz"], "page.html", 3, "absent.nii.gz"),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_written(files, tmp_path, names, output, code, words):
    got, text = call("show", *(files / name for name in names), "-o", tmp_path / output)
    assert got == code, text
    assert words in text
    assert not any(tmp_path.iterdir())
