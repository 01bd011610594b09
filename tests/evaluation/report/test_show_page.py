import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.evaluation.report import show_page as module
from ct_vae.evaluation.report.show_page import ShownCase, write_show_page
from ct_vae.grid import Grid
from ct_vae.volume import Volume
from tests._small import ct_volume, small_codec
from tests.evaluation.report._report import blurred, data_of, plainly_unpacked, texts_of

VOLUME = ct_volume()
LATENT = small_codec().encode(VOLUME)


@pytest.mark.parametrize(
    ("parts", "views"),
    [
        ({"volume": VOLUME}, ["original"]),
        ({"latent": LATENT}, ["latent"]),
        ({"volume": VOLUME, "latent": LATENT}, ["original", "latent"]),
        (
            {"volume": VOLUME, "reconstruction": blurred(VOLUME)},
            ["original", "reconstruction", "error"],
        ),
        (
            {"volume": VOLUME, "latent": LATENT, "reconstruction": blurred(VOLUME)},
            ["original", "latent", "reconstruction", "error"],
        ),
    ],
)
def test_the_page_holds_what_is_given(tmp_path, parts, views):
    write_show_page(ShownCase(**parts), tmp_path / "page.html", title="<b>")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<h1>&lt;b&gt;</h1>" in page
    data = data_of(page)
    assert data["views"] == views
    (case,) = data["cases"]
    texts = texts_of(page)
    layers = [parts[name] for name in ("volume", "reconstruction") if name in parts]
    assert case["layers"] == len(layers)
    for n, volume in enumerate(layers):
        ras = volume.grid.reorient_array(volume.voxels, "RAS")
        got = plainly_unpacked(texts[f"hu-0-{case['volume']['text'] + n}"])
        assert np.array_equal(got, ras.T.ravel())
    assert ("latent" in case) == ("latent" in parts)
    assert len(texts) == len(layers) + (len(LATENT.array) if "latent" in parts else 0)


def test_a_large_volume_is_sampled_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_VOXELS", 300)
    write_show_page(ShownCase(VOLUME), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert max(data_of(page)["cases"][0]["volume"]["step"]) > 1
    assert "too large to show every voxel" in page


def test_latents_of_another_place_are_refused():
    affine = VOLUME.grid.affine.copy()
    affine[0, 3] += 1000
    far = Volume(VOLUME.voxels, Grid(VOLUME.grid.shape, affine))
    with pytest.raises(InputError, match="do not overlap"):
        ShownCase(far, LATENT)


def test_latents_of_another_grid_are_told(tmp_path):
    affine = VOLUME.grid.affine.copy()
    affine[0, 3] += 2
    near = Volume(VOLUME.voxels, Grid(VOLUME.grid.shape, affine))
    write_show_page(ShownCase(near, LATENT), tmp_path / "page.html")
    assert "another one than this CT" in (tmp_path / "page.html").read_text("utf-8")


def test_nothing_and_broken_volumes_are_refused(tmp_path):
    with pytest.raises(InputError, match="nothing to show"):
        ShownCase()
    broken = Volume(np.full((4, 4, 4), np.nan, np.float32), Grid((4, 4, 4), np.eye(4)))
    with pytest.raises(InputError, match="not finite"):
        write_show_page(ShownCase(broken), tmp_path / "page.html")
    assert not any(tmp_path.iterdir())
