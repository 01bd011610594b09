import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError, InputError
from ct_vae.io import read_latent, write_latent
from tests.io._samples import latent_of


@pytest.fixture
def pair(tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.nii.gz")
    return tmp_path / "a_latent.nii.gz", tmp_path / "a_latent.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "format version 3, this package reads up to 2"),
        ({"format": "other"}, "its format is not 'ct_vae.latent'"),
        ({"scaling_factor": "x"}, r"malformed at \$\.scaling_factor"),
        ({"surprise": 1}, r"malformed at \$\.surprise"),
        ({"factor": [4, 4]}, r"malformed at \$\.factor"),
        ({"factor": [4, 4, 4.5]}, r"malformed at \$\.factor\[2\]"),
        ({"file_sha256": "c" * 64}, "does not belong to its record: checksum"),
        ({"file_sha256": None}, "the record has none"),
        ({"quantisation": None}, "does not agree with its record"),
        ({"kind": "codes"}, "does not agree with its record"),
        ({"quantisation": {"dtype": "int8"}}, r"\$\.quantisation: int8 and coded have steps"),
        ({"scaling_factor": 0.5}, "does not agree with its record"),
    ],
)
def test_a_changed_record_is_refused_in_one_line(pair, change, message):
    path, beside = pair
    beside.write_text(json.dumps(json.loads(beside.read_text()) | change))
    with pytest.raises(InputError, match=message) as caught:
        read_latent(path)
    assert str(path) in caught.value.cause
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "NaN", '{"a":' * 5000, "\ud800"])
def test_a_record_that_is_no_json_is_refused(pair, text):
    path, beside = pair
    beside.write_text(text, errors="surrogatepass")
    with pytest.raises(InputError, match=r"a_latent\.json"):
        read_latent(path)


@given(st.data())
def test_a_damaged_record_gives_the_same_latent_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "r_latent.nii.gz"
    written = write_latent(latent_of(), path)
    beside = path.with_name("r_latent.json")
    content = bytearray(beside.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    beside.write_bytes(content)
    try:
        again = read_latent(path)
    except CtVaeError:
        return
    # What the run took may change; what the latent means may not.
    np.testing.assert_array_equal(again.array, written.array)
    unmeaning = {"run": None}
    assert again.record.model_copy(update=unmeaning) == written.record.model_copy(update=unmeaning)


def test_a_record_file_without_end_is_refused(pair):
    path, beside = pair
    with beside.open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"a_latent\.json is larger than 16777216 bytes"):
        read_latent(path)
