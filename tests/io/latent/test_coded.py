import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError, InputError
from ct_vae.io import read_latent, read_volume, write_latent
from ct_vae.io.latent.coded import load_coded
from tests._asserts import assert_only_files
from tests.io._samples import latent_of, with_posterior


@pytest.fixture
def path(tmp_path):
    write_latent(latent_of(), tmp_path / "a_latent.latz")
    return tmp_path / "a_latent.latz"


def test_a_coded_latent_is_one_file_with_its_record_beside(path):
    assert_only_files(path.parent, {"a_latent.latz", "a_latent.latz.json"})
    beside = json.loads((path.parent / "a_latent.latz.json").read_text())
    how = beside["quantisation"]
    assert how["dtype"] == "coded"
    assert how["step"] == 1.0
    integers = load_coded(path).integers()
    assert how["integers_sha256"] == hashlib.sha256(integers.astype("<i4").tobytes()).hexdigest()
    values = (integers * np.reshape(how["steps"], (4, 1, 1, 1))).astype(np.float32)
    np.testing.assert_array_equal(values, read_latent(path).array)


def test_it_is_read_without_the_record_beside_it(path):
    expected = read_latent(path)
    (path.parent / "a_latent.latz.json").unlink()
    found = read_latent(path)
    np.testing.assert_array_equal(found.array, expected.array)
    assert "record file was missing" in found.record.warnings[-1]
    assert found.record.source == expected.record.source


def test_a_record_of_another_latent_is_refused(path):
    write_latent(latent_of(seed=1), path.parent / "b_latent.latz")
    (path.parent / "b_latent.latz.json").replace(path.parent / "a_latent.latz.json")
    with pytest.raises(InputError, match="does not belong to its record"):
        read_latent(path)


@given(st.data())
def test_any_damage_is_noticed_without_the_record(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "d_latent.latz"
    write_latent(latent_of(), path)
    path.with_name("d_latent.latz.json").unlink()
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    path.write_bytes(content)
    with pytest.raises(CtVaeError) as caught:
        read_latent(path)
    assert str(path) in caught.value.cause
    assert "\n" not in str(caught.value)


def test_integers_that_are_not_those_of_the_record_are_refused(path):
    content = bytearray(path.read_bytes())[:-32]
    content[-5] ^= 1
    (path.parent / "a_latent.latz.json").unlink()
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(InputError, match=r"damaged|integers that are not those"):
        read_latent(path)


def test_a_newer_container_is_refused_with_what_to_do(path):
    (path.parent / "a_latent.latz.json").unlink()
    content = bytearray(path.read_bytes())
    content[7] = 2
    path.write_bytes(content)
    with pytest.raises(InputError, match="install a newer ct_vae"):
        read_latent(path)


def test_a_record_that_unpacks_without_end_is_refused(path):
    import zlib

    bomb = zlib.compress(b" " * (1 << 25), 9)
    content = path.read_bytes()[:8] + len(bomb).to_bytes(4, "little") + bomb
    (path.parent / "a_latent.latz.json").unlink()
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(InputError, match="larger than 16777216 bytes"):
        read_latent(path)


def test_it_is_no_ct_volume(path):
    with pytest.raises(InputError, match=r"a latent of this package.*decode it instead"):
        read_volume(path)


def test_means_and_standard_deviations_come_back(tmp_path):
    written = write_latent(with_posterior(latent_of()), tmp_path / "a.latz")
    found = read_latent(tmp_path / "a.latz")
    np.testing.assert_array_equal(found.array, written.array)
    np.testing.assert_array_equal(found.std, written.std)
