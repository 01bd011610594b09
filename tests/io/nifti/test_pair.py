import nibabel as nib
import numpy as np
import pytest

from ct_vae.datasets.sources.case import FileCase
from ct_vae.io import read_volume
from tests.io._samples import AFFINE, ct_voxels
from tests.io.nifti._pairs import write_pair

VOXELS = ct_voxels()


@pytest.mark.parametrize("cls", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize(
    "names",
    [("a.hdr", "a.img"), ("a.hdr.gz", "a.img.gz"), ("a.hdr", "a.img.gz"), ("A.HDR", "A.IMG")],
)
def test_pairs_are_read_as_nibabel_reads_them(tmp_path, cls, names):
    header, image = write_pair(tmp_path, cls, *names)
    volume = read_volume(header)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_array_equal(volume.grid.affine, AFFINE)
    assert FileCase("a", header).files == (header, image)
    np.testing.assert_array_equal(read_volume(image).voxels, VOXELS)
    assert FileCase("a", image).files == (header, image)


def test_a_pair_with_an_offset_into_its_image_is_read(tmp_path):
    header, image = write_pair(tmp_path)
    fields = nib.nifti1.Nifti1PairHeader(header.read_bytes()[:348])
    fields["vox_offset"] = 16
    header.write_bytes(fields.binaryblock + header.read_bytes()[348:])
    image.write_bytes(b"x" * 16 + image.read_bytes())
    np.testing.assert_array_equal(read_volume(header).voxels, VOXELS)
    np.testing.assert_array_equal(nib.load(header).dataobj, VOXELS)
