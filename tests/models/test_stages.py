import pytest
import torch

from tests.models._small import noise, small_model


def kept(stage: torch.nn.Module, x: torch.Tensor) -> int:
    """Numbers that the way back keeps of a stage, besides its weights."""
    own = {p.data_ptr() for p in stage.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # Whatever is kept stays alive, so that no address is used twice.
        result = stage(x)
    return sum(sizes.values()) if result.requires_grad else 0


@pytest.mark.parametrize("place", ["encoder.down.1", "encoder.mid", "decoder.mid"])
def test_checkpointing_keeps_what_enters_each_block_and_little_else(place):
    numbers = {"attn_resolutions": (2,), "num_res_blocks": 2}
    x = noise(1, 8 if "down" in place else 16, 8, 8, 8).requires_grad_()
    plain, twice = (
        kept(small_model(checkpointing=on, **numbers).train().get_submodule(place), x)
        for on in (False, True)
    )
    assert 0 < twice < 0.4 * plain
