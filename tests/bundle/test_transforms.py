import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd, LoadImaged, SaveImaged

from ct_vae.bundle import DecodeLatentd, EncodeCTd
from ct_vae.errors import InputError
from ct_vae.io import read_latent, read_volume
from ct_vae.preprocess.latent_writer import LatentWriter
from ct_vae.preprocess.reader import CTReader
from tests._small import SMALL_CODES, SMALL_MODEL, ct_volume, small_codec

# MONAI's LoadImage makes all of its readers, of which one misses an optional decoder.
pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")


@pytest.mark.parametrize("base", [SMALL_MODEL, SMALL_CODES["vq"]], ids=["kl", "vq"])
def test_a_pipeline_reads_encodes_saves_and_decodes_in_place(base, ct_folder, tmp_path):
    codec = small_codec(base=base)
    pipeline = Compose(
        [
            LoadImaged("ct", reader=CTReader, ensure_channel_first=True),
            EncodeCTd("ct", codec),
            SaveImaged(
                "ct",
                output_dir=tmp_path,
                output_postfix="latent",
                output_ext=".nii.gz",
                separate_folder=False,
                resample=False,
                writer=LatentWriter,
                print_log=False,
            ),
            DecodeLatentd("ct", codec),
        ]
    )
    result = pipeline({"ct": ct_folder / "a.nii.gz"})["ct"]
    latent = read_latent(tmp_path / "a_latent.nii.gz")
    encoded = Compose(pipeline.transforms[:2])({"ct": ct_folder / "a.nii.gz"})["ct"]
    assert np.allclose(encoded.affine, latent.grid.affine, atol=1e-6)
    source = nibabel.load(ct_folder / "a.nii.gz")
    expected = latent.record.source.grid.grid().reorient("RAS").pad((0, 0, 0), (3, 2, 1))
    assert np.allclose(latent.grid.affine, expected.coarsen(4).affine)
    assert np.allclose(result.affine, source.affine)
    assert tuple(result.shape) == (1, *source.shape)
    exact = codec.reconstruct(read_volume(ct_folder / "a.nii.gz"))
    assert np.allclose(result.numpy()[0], exact.voxels, atol=0.01)


def test_an_image_without_a_place_is_refused():
    with pytest.raises(InputError, match="ct: not a MetaTensor"):
        EncodeCTd("ct", small_codec())({"ct": torch.zeros(1, 8, 8, 8)})
    with pytest.raises(InputError, match="is not that of one volume"):
        EncodeCTd("ct", small_codec())({"ct": MetaTensor(torch.zeros(2, 8, 8, 8))})
    with pytest.raises(InputError, match="its metadata lack ct_vae_latent_record"):
        DecodeLatentd("ct", small_codec())({"ct": MetaTensor(torch.zeros(4, 2, 2, 2))})


def test_a_latent_that_was_moved_is_neither_written_nor_decoded(ct_folder, tmp_path):
    codec = small_codec()
    load = LoadImaged("ct", reader=CTReader, ensure_channel_first=True)
    moved = Compose([load, EncodeCTd("ct", codec), Flipd("ct", 0)])({"ct": ct_folder / "a.nii.gz"})
    with pytest.raises(InputError, match="the latent was moved after encoding"):
        DecodeLatentd("ct", codec)(moved)
    writer = LatentWriter()
    writer.set_data_array(moved["ct"])
    with pytest.raises(InputError, match="the latent was moved after encoding"):
        writer.set_metadata(moved["ct"].meta)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.int16])
def test_voxels_of_any_type_are_encoded_and_none_that_are_not_finite(dtype):
    voxels = torch.from_numpy(ct_volume((8, 8, 8)).voxels)[None]
    encode = EncodeCTd("ct", small_codec())
    found = encode({"ct": MetaTensor(voxels.to(dtype))})["ct"]
    assert found.as_tensor().equal(encode({"ct": MetaTensor(voxels.float())})["ct"].as_tensor())
    holed = voxels.double()
    holed[0, 0, 0, :2] = torch.nan
    with pytest.raises(InputError, match="ct: 2 voxels are not finite"):
        encode({"ct": MetaTensor(holed)})
