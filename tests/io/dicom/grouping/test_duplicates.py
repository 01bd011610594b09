from unittest.mock import patch

from ct_vae.io.dicom.grouping import duplicates
from ct_vae.io.dicom.grouping.group_series import group_images
from tests.io.dicom.grouping._images import header, outcomes


def test_multi_frame_files_tell_apart_what_nothing_else_does():
    images = [
        header(k, 2.0 * k, name=name, frame=k, frames=8, instance=None, uid=name)
        for name in "ab"
        for k in range(8)
    ]
    with patch.object(duplicates, "content_of", lambda image: f"{image.uid}{image.frame}"):
        assert outcomes(group_images(images)) == [("ok", 8), ("ok", 8)]
