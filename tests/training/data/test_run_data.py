from ct_vae.training.data.run_data import RunData


def test_the_digest_of_cases_tells_their_order_and_names_none():
    told = [
        RunData([], [], keys).cases for keys in (("a", "b"), ("b", "a"), ("a", "b"), ("secret",))
    ]
    assert told[0] == told[2] != told[1]
    assert told[0].startswith("2 case(s), sha256 ")
    assert "secret" not in told[3]
