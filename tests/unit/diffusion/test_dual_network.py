"""Card 003 section 7: the branches, their exchange and the background, on tiny U-Nets."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from farm.config import DualFit
from farm.diffusion.backbone import Backbone
from farm.diffusion.dual import BRANCHES, DualNetwork, Memory, interleave, ranks, separate
from farm.diffusion.text import Text
from farm.errors import WeightsError
from tests.tiny import Kind, noise

SMALL = DualFit(rank=3, text_rank=2)
RANDOM = DualFit(rank=3, text_rank=2, exchange_init="random")
Z = noise(4, 4, 8, 8).float()  # two pairs


def texts(network: DualNetwork) -> Text:
    return network.backbone.embed_prompts(["a vfx with sks", "sks"] * 2)


def network_of(backbone: Backbone, settings: DualFit = SMALL, learned: bool = False) -> DualNetwork:
    """``learned``: every low-rank pair does something, not only the fresh zero."""
    network = DualNetwork(backbone.private(), settings, seed=3)
    if learned:
        for name, parameter in network.layers.named_parameters():
            if name.endswith(".up"):
                parameter.data = 0.1 * noise(*parameter.shape, seed=len(name)).float()
    return network


def predict(network: DualNetwork, z: Tensor = Z, memory: Memory | None = None, time: int = 500) -> Tensor:
    with torch.no_grad():
        return network.predict(z, time, texts(network), memory)


def remember(network: DualNetwork, z: Tensor) -> Memory:
    with torch.no_grad():
        return network.remember(z, 500, network.backbone.embed_prompts(["a vfx with sks"] * len(z)))


def compensation(network: DualNetwork, weight: float) -> None:
    for layer in network.layers.values():
        if layer.compensation is not None:
            layer.compensation.weight.data.fill_(weight)


# card 003, 7.1
def test_pairs_come_apart_as_they_were_put_together() -> None:
    whole, part = noise(3, 2, 4), noise(3, 2, 4, seed=1)
    pairs = interleave(whole, part)
    assert torch.equal(pairs[2], whole[1])
    assert torch.equal(pairs[3], part[1])
    for found, wanted in zip(separate(pairs), (whole, part), strict=True):
        assert torch.equal(found, wanted)


# card 003, 7.1
def test_branches_that_change_places_with_their_texts_change_their_outputs(backbone: Backbone) -> None:
    network = network_of(backbone, RANDOM, learned=True)
    for name, parameter in network.layers.named_parameters():
        if ".low_rank." in name:
            parameter.data[1] = parameter.data[0]
    there = predict(network)
    other = network.backbone.embed_prompts(["sks", "a vfx with sks"] * 2)
    with torch.no_grad():
        back = network.predict(interleave(*reversed(separate(Z))), 500, other)
    torch.testing.assert_close(interleave(*reversed(separate(back))), there, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(back, there, atol=1e-3)


# card 003, 7.2
def test_the_exchange_does_not_know_which_branch_is_which(backbone: Backbone) -> None:
    exchange = next(iter(network_of(backbone, RANDOM).layers.values())).exchange
    h = noise(6, 5, exchange.norm.normalized_shape[0]).float()
    swapped = interleave(*reversed(separate(h)))
    torch.testing.assert_close(exchange(swapped), interleave(*reversed(separate(exchange(h)))))


# card 003, 7.2
@pytest.mark.parametrize(("settings", "apart"), [(SMALL, True), (RANDOM, False)])
def test_branches_meet_in_the_exchange_alone(backbone: Backbone, settings: DualFit, apart: bool) -> None:
    network = network_of(backbone, settings, learned=True)
    other = interleave(separate(Z)[0], noise(2, 4, 8, 8, seed=5).float())
    whole, part = separate(predict(network))
    whole_too, part_too = separate(predict(network, other))
    assert torch.equal(whole, whole_too) is apart
    assert not torch.allclose(part, part_too, atol=1e-3)


# card 003, 7.3
@pytest.mark.parametrize("kind", ["sd15", "sd21", "sdxl"])
def test_a_fresh_network_is_the_base_model_twice(backbone_of: Callable[[Kind], Backbone], kind: Kind) -> None:
    base = backbone_of(kind)
    network = network_of(base)
    text = base.embed_prompts(["a vfx with sks", "sks"] * 2)
    with torch.no_grad():
        wanted, found = base.predict(Z, 500, text), network.predict(Z, 500, texts(network))
        remembered = network.predict(Z, 500, texts(network), remember(network, noise(2, 4, 8, 8, seed=4).float()))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(remembered, wanted, atol=1e-5, rtol=1e-5)


# card 003, 7.4
def test_with_a_zero_the_background_is_not_read(backbone: Backbone) -> None:
    network = network_of(backbone, RANDOM, learned=True)
    plain = predict(network)
    assert torch.equal(predict(network, memory=remember(network, noise(2, 4, 8, 8, seed=4).float())), plain)


# card 003, 7.4
def test_with_a_one_keys_and_values_know_the_background_only_and_queries_never_do(backbone: Backbone) -> None:
    layers = network_of(backbone, RANDOM, learned=True).layers.values()
    given = next(layer.compensation for layer in layers if layer.compensation is not None)
    given.weight.data.fill_(1.0)
    width = given.narrow.in_features
    r = noise(1, 3, width).float()
    first, second = (given(noise(1, 3, width, seed=seed).float(), r) for seed in (1, 2))
    torch.testing.assert_close(first, second)
    assert not torch.allclose(given(noise(1, 3, width, seed=1).float(), r + 1), first)


def test_queries_do_not_read_the_background(backbone: Backbone) -> None:
    network = network_of(backbone, SMALL, learned=True)
    compensation(network, 1.0)
    name, attn = next((n, m) for n, m in network.backbone.unet.named_modules() if n.endswith("attn1"))
    asked: list[Tensor] = []
    handle = attn.to_q.register_forward_hook(lambda _module, _inputs, output: asked.append(output))
    for seed in (4, 5):
        memory = remember(network, noise(2, 4, 8, 8, seed=seed).float())
        asked.clear()
        predict(network, memory=memory)
        if seed == 4:
            before = asked[0].clone()
    handle.remove()
    assert name.startswith("down_blocks.0")  # nothing of the background has come in before the first one
    assert torch.equal(asked[0], before)


# card 003, 7.4
def test_the_part_never_reads_the_background(backbone: Backbone) -> None:
    network = network_of(backbone, SMALL, learned=True)  # no exchange, through which it would come
    compensation(network, 0.7)
    outputs = [predict(network, memory=remember(network, noise(2, 4, 8, 8, seed=s).float())) for s in (4, 5)]
    (whole, part), (whole_too, part_too) = map(separate, outputs)
    assert torch.equal(part, part_too)
    assert not torch.allclose(whole, whole_too, atol=1e-4)


# card 003, 7.5
@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_each_self_attention_is_remembered_once_and_read_once(
    backbone_of: Callable[[Kind], Backbone], kind: Kind
) -> None:
    network = network_of(backbone_of(kind))
    memory = remember(network, noise(2, 4, 8, 8, seed=4).float())
    selves = [name for name in network.backbone.unet.attn_processors if ".attn1." in name]
    assert len(memory.seen) == len(selves) > 1
    predict(network, memory=memory)
    assert not memory.seen
    with pytest.raises(KeyError):
        predict(network, memory=memory)


def test_a_background_that_nobody_reads_is_told(backbone: Backbone) -> None:
    network = network_of(backbone)
    memory = remember(network, noise(2, 4, 8, 8, seed=4).float())
    memory.seen["another"] = Z
    with pytest.raises(RuntimeError, match="1 backgrounds were not read, first another"):
        predict(network, memory=memory)


# card 003, 7.9
def test_only_what_is_added_learns(backbone: Backbone) -> None:
    network = network_of(backbone)
    trainable = {id(p) for p in [*network.layers.parameters(), *network.text_parameters()] if p.requires_grad}
    everything = [*network.backbone.unet.parameters(), *network.backbone.prompts.encoders.parameters()]
    everything += list(network.backbone.vae.parameters())
    assert {id(p) for p in everything if p.requires_grad} == {id(p) for p in network.text_parameters()}
    assert len(trainable) == len(list(network.layers.parameters())) + len(network.text_parameters())
    assert network.text_parameters()


# card 003, 7.9
@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_saved_adapter_gives_the_same_outputs(backbone_of: Callable[[Kind], Backbone], kind: Kind) -> None:
    network = network_of(backbone_of(kind), RANDOM, learned=True)
    for parameter in network.text_parameters():
        parameter.data += 0.1
    state = network.state()
    other = DualNetwork(backbone_of(kind).private(), ranks(state), seed=99)
    assert not torch.allclose(predict(other), predict(network), atol=1e-4)
    other.load(state)
    assert torch.equal(predict(other), predict(network))


def test_an_adapter_of_another_model_is_refused(backbone_of: Callable[[Kind], Backbone]) -> None:
    state = network_of(backbone_of("sdxl")).state()
    with pytest.raises(WeightsError, match="do not fit"):
        network_of(backbone_of("sd15")).load(state)
    with pytest.raises(WeightsError, match="holds no branch"):
        ranks({"lora.x": Z})


def test_a_row_is_the_same_whatever_its_neighbours(backbone: Backbone) -> None:
    network = network_of(backbone, RANDOM, learned=True)
    mixed = torch.cat([Z[:BRANCHES], noise(2, 4, 8, 8, seed=8).float()])
    assert torch.equal(predict(network, mixed)[:BRANCHES], predict(network)[:BRANCHES])
