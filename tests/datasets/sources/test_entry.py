from pathlib import Path

import pytest

from ct_vae.datasets.sources.entry import Listed


@pytest.mark.parametrize(
    ("text", "path"),
    [("a/b.nii", "/data/a/b.nii"), ("/else/b.nii", "/else/b.nii"), ("..", "/data/..")],
)
def test_relative_paths_start_at_the_folder_of_the_list(text, path):
    assert Listed("training[0]", "train", text, Path("/data")).path == Path(path)
