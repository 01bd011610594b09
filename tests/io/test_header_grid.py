import numpy as np
import pytest

from ct_vae.config.data import DataConfig
from ct_vae.datasets.sources.case import FileCase, PhantomCase
from ct_vae.datasets.sources.split import build_split
from ct_vae.errors import InputError, NoInputError
from ct_vae.io import ReadOptions, scan_series, write_volume
from tests._asserts import assert_same_place
from tests._small import ct_volume
from tests.datasets._files import write_ct_series


def case(path, **options):
    return FileCase(path.name, path, options=ReadOptions(**options))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_header_of_a_file_says_where_its_voxels_are(tmp_path, name):
    affine = np.array([[0, 0, 3, 1], [-2, 0, 0, 2], [0, 1.5, 0, 3], [0, 0, 0, 1.0]])
    write_volume(ct_volume(affine=affine), tmp_path / name)
    assert_same_place(case(tmp_path / name).header_grid(), case(tmp_path / name).load().grid, 1e-4)


def test_so_do_the_headers_of_a_series(tmp_path):
    write_ct_series(tmp_path / "s")
    (found,) = build_split(DataConfig(train=(str(tmp_path),))).train
    assert_same_place(found.header_grid(), found.load().grid)


def test_damage_after_the_header_is_not_looked_for(tmp_path):
    write_volume(ct_volume(), tmp_path / "a.nii")
    whole = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(whole[:600])
    assert case(tmp_path / "a.nii").header_grid().shape == (13, 10, 11)


def test_damaged_headers_are_refused_by_name(tmp_path):
    for name, content in (
        ("empty.nii", b""),
        ("page.nii.gz", b"<html>"),
        ("cut.nii", b"\x5c\1\0\0"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            case(tmp_path / name).header_grid()
    with pytest.raises(NoInputError, match="gone"):
        case(tmp_path / "gone.nii").header_grid()


def test_consents_count_for_headers_too(tmp_path):
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    affine[0, 1] = 0.5
    write_volume(ct_volume(affine=affine), tmp_path / "sheared.nii")
    with pytest.raises(InputError, match="sheared"):
        case(tmp_path / "sheared.nii").header_grid()
    assert case(tmp_path / "sheared.nii", resample_irregular=True).header_grid() is None
    write_ct_series(tmp_path / "gap", n=5, positions=[0, 1, 2, 4, 5])
    (found,) = scan_series(tmp_path / "gap")
    with pytest.raises(InputError, match="missing"):
        FileCase("gap", found.path, found).header_grid()
    consent = ReadOptions(resample_irregular=True)
    assert FileCase("gap", found.path, found, options=consent).header_grid() is None
    assert FileCase("gap", tmp_path / "gap", options=consent).header_grid() is None


def test_what_has_to_be_read_to_be_known_has_no_grid_yet(tmp_path):
    for name in ("a.mha", "a.nrrd"):
        write_volume(ct_volume(), tmp_path / name)
        assert case(tmp_path / name).header_grid() is None


@pytest.mark.parametrize("anatomy", ["thorax", "abdomen", "head"])
def test_sides_and_spacing_of_a_phantom_are_known_without_it(anatomy, monkeypatch):
    # Its grid does not depend on the picture, which takes seconds.
    monkeypatch.setattr(
        "ct_vae.phantoms.make_phantom.render", lambda _, shape, __: np.zeros(shape, np.float32)
    )
    for seed, spacing in ((0, (9.0, 11.0, 30.0)), (5, (12.5, 12.5, 50.0))):
        phantom = PhantomCase(anatomy, seed, spacing)
        found, made = phantom.header_grid(), phantom.load().grid
        assert (found.shape, found.spacing_mm) == (made.shape, made.spacing_mm)
        assert found.axcodes == made.axcodes
