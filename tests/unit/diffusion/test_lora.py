from collections.abc import Callable

import pytest
import torch

from farm.diffusion.attention import mask_pyramid
from farm.diffusion.backbone import Backbone
from farm.errors import WeightsError
from tests.tiny import Kind

BackboneOf = Callable[[Kind], Backbone]
Z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def predict(backbone: Backbone) -> torch.Tensor:
    """With two texts by region, so that the adapter is seen through our attention."""
    text = backbone.embed_prompts(["a hole"] * 2).beside(backbone.embed_prompts(["cloth"] * 2))
    return backbone.predict(Z, 500, text, mask_pyramid(Z[:, :1] > 0)).detach()


def train(backbone: Backbone, steps: int = 2) -> None:
    optimizer = torch.optim.AdamW(backbone.lora_parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        backbone.predict(Z, 500, backbone.embed_prompts(["a hole"] * 2)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["sd15", "sd21", "sdxl"])
def test_a_fresh_adapter_changes_nothing(backbone_of: BackboneOf, kind: Kind) -> None:
    backbone = backbone_of(kind).private()
    before, state = predict(backbone), torch.get_rng_state()
    backbone.add_lora(rank=3, seed=7)
    assert torch.equal(predict(backbone), before)
    assert torch.equal(torch.get_rng_state(), state)
    layers = len(backbone.unet.attn_processors)
    assert len(backbone.lora_parameters()) == layers * 4 * 2
    assert all(parameter.requires_grad for parameter in backbone.lora_parameters())
    down = {name: tensor for name, tensor in backbone.lora_state().items() if name.endswith("lora_A.weight")}
    assert all(tensor.abs().max() > 0.5 * tensor.shape[1] ** -0.5 for tensor in down.values())
    assert all(tensor.abs().max() <= tensor.shape[1] ** -0.5 for tensor in down.values())


def test_the_seed_alone_says_what_an_adapter_starts_from(backbone: Backbone) -> None:
    states = []
    for seed, global_seed in ((7, 0), (7, 1), (8, 0)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            mine = backbone.private()
            mine.add_lora(rank=3, seed=seed)
        states.append(mine.lora_state())
    first, same, other = states
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "lora_A" in name)


def test_training_moves_the_adapter_and_nothing_else(backbone: Backbone) -> None:
    mine = backbone.private()
    mine.add_lora(rank=3, seed=7)
    before = {name: value.clone() for name, value in mine.unet.state_dict().items()}
    untrained = predict(mine)
    train(mine)
    moved = {name for name, value in mine.unet.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if ".lora_" in name}
    assert (predict(mine) - untrained).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_saved_adapter_gives_the_same_bits_again(backbone_of: BackboneOf, kind: Kind) -> None:
    trained = backbone_of(kind).private()
    trained.add_lora(rank=3, seed=7)
    train(trained)
    state = trained.lora_state()
    again, merged, twice = (backbone_of(kind).private() for _ in range(3))
    for backbone in (again, merged, twice):
        backbone.load_lora(state, rank=3)
        assert not any(parameter.requires_grad for parameter in backbone.unet.parameters())
    assert torch.equal(predict(again), predict(trained))
    assert all(torch.equal(value, state[name]) for name, value in again.lora_state().items())
    names = set(backbone_of(kind).unet.state_dict())
    for backbone in (merged, twice):
        backbone.merge_lora()
        assert set(backbone.unet.state_dict()) == names
    assert torch.equal(predict(merged), predict(twice))
    torch.testing.assert_close(predict(merged), predict(trained), rtol=0, atol=1e-5)


def test_loading_into_an_adapter_in_training_keeps_it_trainable(backbone: Backbone) -> None:
    mine, other = backbone.private(), backbone.private()
    mine.add_lora(rank=3, seed=7)
    other.add_lora(rank=3, seed=8)
    other.load_lora(mine.lora_state(), rank=3)
    assert all(parameter.requires_grad for parameter in other.lora_parameters())
    assert all(torch.equal(a, b) for a, b in zip(mine.lora_parameters(), other.lora_parameters(), strict=True))


def test_rows_stay_independent_under_an_adapter(backbone: Backbone) -> None:
    mine = backbone.private()
    mine.add_lora(rank=3, seed=7)
    train(mine)
    text = mine.embed_prompts(["a hole", "cloth"])
    whole = mine.predict(Z, 500, text).detach()
    for row in range(2):
        alone = mine.predict(Z[[row, row]], 500, text[torch.tensor([row, row])]).detach()
        assert torch.equal(alone[0], whole[row])


def test_an_adapter_of_another_rank_or_model_is_refused(backbone_of: BackboneOf) -> None:
    small, large = backbone_of("sd15").private(), backbone_of("sdxl").private()
    small.add_lora(rank=3, seed=7)
    large.add_lora(rank=4, seed=7)
    with pytest.raises(WeightsError, match=r"64 tensor\(s\) do not fit, first .*found \(3, .*reads \(4, .* at rank 4"):
        backbone_of("sd15").private().load_lora(small.lora_state(), rank=4)
    with pytest.raises(WeightsError, match=r"48 tensor\(s\) do not fit, first .*: found none, this network reads \("):
        backbone_of("sd15").private().load_lora(dict(list(small.lora_state().items())[:16]), rank=3)
    with pytest.raises(WeightsError, match=r"fit the adapter on this base model"):
        small.load_lora(large.lora_state(), rank=3)


def test_an_adapter_of_a_half_precision_model_stays_float32(backbone: Backbone) -> None:
    half = backbone.private().to("cpu", torch.bfloat16)
    before = predict(half)
    half.add_lora(rank=3, seed=7)
    assert torch.equal(predict(half), before)
    assert {parameter.dtype for parameter in half.lora_parameters()} == {torch.float32}
    assert half.dtype == torch.bfloat16
    state = half.lora_state()
    half.to("cpu", torch.float16)
    assert all(torch.equal(value, state[name]) for name, value in half.lora_state().items())
