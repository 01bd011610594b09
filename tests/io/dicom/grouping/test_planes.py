from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.dicom.grouping.group_series import group_images
from ct_vae.io.dicom.grouping.planes import is_regular
from tests.io.dicom.grouping._images import (
    outcome,
    stack,
)


@given(
    st.lists(st.sampled_from([(0.75, 0.5), (0.76, 0.5), (0.75, 0.51)]), min_size=4, max_size=12),
)
def test_slices_of_several_spacings_are_whole_volumes_in_blocks_or_refused(spacings):
    images = stack(len(spacings), spacing=lambda k: spacings[k])
    for group in group_images(images):
        kind, size = outcome(group)
        assert kind in {"ok", "refused", "short"}
        if kind == "ok" and is_regular(group.images):
            runs = [len(list(run)) for _, run in groupby(spacings)]
            assert size in runs
