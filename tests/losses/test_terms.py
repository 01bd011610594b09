import torch

from ct_vae.losses.terms import weighted_sum


def test_the_total_is_the_weighted_sum_of_what_is_there():
    values = {"a": torch.tensor(2.0), "b": torch.tensor(-3.0), "c": torch.tensor(5.0)}
    terms = weighted_sum(values, {"a": 1.0, "b": 0.5, "c": 0.0, "absent": 9.0})
    assert terms.total.item() == 0.5
    assert terms.values == values
    assert terms.weights == {"a": 1.0, "b": 0.5, "c": 0.0}
