import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ct_vae.grid import Grid
from ct_vae.masks import body_mask, field_of_view
from ct_vae.phantoms.make_phantom import PHANTOM_ANATOMIES, make_phantom
from ct_vae.volume import Volume
from tests._strategies import axcodes
from tests.evaluation._cases import read_plainly, volume_of


def disc(shape=(60, 60, 6), radius=20, center=(30, 30)) -> np.ndarray:
    x, y = np.indices(shape[:2])
    inside = (x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2
    return np.repeat(inside[:, :, None], shape[2], axis=2)


def scan(body, hu=40) -> np.ndarray:
    return np.where(body, hu, -1000).astype(np.int16)


def test_holes_are_filled_and_the_couch_is_left_out():
    body = disc()
    voxels = scan(body)
    voxels[disc(radius=8)] = -850
    voxels[:, 5:7] = 0  # a couch of two voxels, apart
    voxels[29:31, 6:12] = 0  # and a thin contact with the skin
    mask = body_mask(volume_of(voxels))
    assert not mask.note
    assert (mask.voxels ^ body).sum() < 0.03 * body.sum()


def test_filling_goes_slice_by_slice():
    voxels = scan(disc())
    voxels[disc(radius=5)] = -1000  # a tunnel along the body, open at both ends
    assert body_mask(volume_of(voxels)).voxels[30, 30].all()


@pytest.mark.parametrize("axcodes", ["LPS", "SAR", "PIR", "AIL"])
def test_orientation_does_not_matter(axcodes):
    volume = make_phantom("head", 0, 6.0)
    turned = Volume(
        volume.grid.reorient_array(volume.voxels, axcodes), volume.grid.reorient(axcodes)
    )
    moved = volume.grid.reorient_array(body_mask(volume).voxels, axcodes)
    np.testing.assert_array_equal(body_mask(turned).voxels, moved)


@pytest.mark.parametrize("shape", [(20, 30, 10), (20, 30, 1), (1, 1, 1), (3, 1, 5)])
def test_a_crop_without_air_is_all_body(shape):
    mask = body_mask(volume_of(np.full(shape, 60, np.int16)))
    assert mask.voxels.all()
    assert not mask.note


def test_a_body_that_touches_the_border_keeps_its_edge():
    body = disc(center=(5, 30))
    np.testing.assert_array_equal(body_mask(volume_of(scan(body))).voxels[0], body[0])


def test_nothing_but_air_falls_back_to_the_field_of_view_and_says_so():
    voxels = np.full((10, 10, 4), -1000, np.int16)
    outside = np.zeros(voxels.shape, bool)
    outside[0] = True
    volume = volume_of(voxels, outside=outside)
    mask = body_mask(volume)
    np.testing.assert_array_equal(mask.voxels, ~outside)
    assert "-500 HU" in mask.note
    assert "field of view" in mask.note


def test_voxels_outside_the_field_of_view_are_never_body():
    outside = np.zeros((60, 60, 6), bool)
    outside[:, :15] = True
    voxels = np.full(outside.shape, 60, np.int16)
    assert not (body_mask(volume_of(voxels, outside=outside)).voxels & outside).any()
    np.testing.assert_array_equal(
        field_of_view(volume_of(voxels, outside=outside)).voxels, ~outside
    )
    assert field_of_view(volume_of(voxels)).voxels.all()


@pytest.mark.parametrize("anatomy", PHANTOM_ANATOMIES)
def test_phantom_couches_are_left_out(anatomy):
    volume = make_phantom(anatomy, 4, 6.0)
    mask = body_mask(volume)
    # The backmost slab of the field of view holds couch or holder and air only.
    assert not mask.voxels[:, :1].any()
    assert (volume.voxels[mask.voxels] > -500).mean() > 0.6


def test_real_abdomen_is_one_body_with_its_lungs(real_data):
    volume = read_plainly(real_data / "nifti" / "abdomen_3mm.nii.gz")
    mask = body_mask(volume)
    assert not mask.note
    assert 0.4 < mask.voxels.mean() < 0.8
    assert (volume.voxels[mask.voxels] < -700).mean() > 0.01


def test_real_spine_crop_is_all_body(real_data):
    mask = body_mask(read_plainly(real_data / "nifti" / "spine_crop_pir.nii.gz"))
    assert mask.voxels.all()


def plain_body(volume):
    """All at once, by scipy: what is found slice by slice, in little memory, must be the same."""
    head = next(axis for axis in range(3) if volume.grid.axcodes[axis] in "SI")
    seen = np.ones(volume.grid.shape, bool) if volume.outside_fov is None else ~volume.outside_fov
    mm = [volume.grid.spacing_mm[axis] for axis in range(3) if axis != head]
    diamond = np.expand_dims(ndimage.generate_binary_structure(2, 1), head)
    above = (volume.voxels > -500) & seen
    steps = max(1, round(2.5 / max(mm)))
    worn = ndimage.binary_erosion(above, diamond, steps, border_value=1)
    opened = ndimage.binary_dilation(worn, diamond, steps)
    for k in range(above.shape[head]):
        at = (slice(None),) * head + (k,)
        if above[at].all():
            opened[at] = True
    labels, count = ndimage.label(opened)
    if not count:
        return seen
    body = labels == 1 + np.argmax([(labels == n).sum() for n in range(1, count + 1)])
    for k in range(above.shape[head]):
        plane = body[(slice(None),) * head + (k,)]
        holes, count = ndimage.label(~plane)
        for n in range(1, count + 1):
            hole = holes == n
            edge = np.ones_like(hole)
            edge[1:-1, 1:-1] = False
            if not (hole & edge).any() or hole.sum() * mm[0] * mm[1] < 100:
                plane |= hole
    return body & seen


@given(
    axcodes,
    st.tuples(*[st.integers(1, 14)] * 3),
    st.sampled_from([(1.0, 1.0, 3.0), (2.5, 0.6, 1.0), (4.0, 4.0, 2.0)]),
    st.floats(0.3, 2.0),
    st.integers(0, 10_000),
)
def test_the_body_is_that_of_the_plain_algorithm(codes, shape, spacing, grain, seed):
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), grain)
    voxels = np.where(blobs > np.quantile(blobs, rng.uniform(0, 0.8)), 40, -1000).astype(np.int16)
    outside = rng.random(shape) < 0.05 if seed % 2 else None
    grid = Grid(shape, np.diag([*spacing, 1.0])).reorient(codes)
    volume = Volume(voxels.reshape(grid.shape), grid, None)
    if outside is not None:
        volume = Volume(volume.voxels, grid, outside.reshape(grid.shape))
    np.testing.assert_array_equal(body_mask(volume).voxels, plain_body(volume))
