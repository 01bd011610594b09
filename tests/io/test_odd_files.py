import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.find_volumes.inventory import inspect
from ct_vae.find_volumes.items import find_items
from ct_vae.io import ReadOptions, read_volume
from tests.io._odd_files import FILES, VOXELS


@pytest.mark.parametrize("odd", FILES, ids=lambda odd: odd.name)
def test_odd_files_are_read_noted_or_refused(tmp_path, odd):
    path = odd.make(tmp_path)
    rows = [row for item in find_items([path]).items for row in inspect(item, ReadOptions())]
    if odd.outcome == "refused":
        with pytest.raises(InputError) as caught:
            read_volume(path)
        assert odd.message in str(caught.value)
        assert (odd.insist.split() or [""])[0] in caught.value.hint
        assert [row.verdict for row in rows] == ["refused"]
        return
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert bool(volume.warnings) == (odd.outcome == "noted")
    assert [row.verdict for row in rows] == ["ok"]
