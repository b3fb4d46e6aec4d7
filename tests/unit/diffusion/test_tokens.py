from collections.abc import Callable

import pytest
import torch

from farm.diffusion.backbone import Backbone
from tests.tiny import END, SECOND_WIDTH, TEXT_WIDTH, Kind

BackboneOf = Callable[[Kind], Backbone]
PAIR = pytest.mark.parametrize("kind", ["sd15", "sdxl"])
PROMPT = "a <pitting> on metal"


def tables(backbone: Backbone) -> list[torch.Tensor]:
    return [encoder.get_input_embeddings().weight.detach().clone() for encoder in backbone.prompts.encoders]


@pytest.fixture
def learning(backbone_of: BackboneOf, kind: Kind) -> Backbone:
    backbone = backbone_of(kind).private()
    backbone.add_token("<pitting>", "holes", 0)
    backbone.add_token("<rust>", "brown spots", 0)
    return backbone


@PAIR
def test_a_token_is_one_word_that_starts_as_the_mean_of_others(backbone_of: BackboneOf, learning: Backbone) -> None:
    width = TEXT_WIDTH + (SECOND_WIDTH if len(learning.prompts.encoders) > 1 else 0)
    means = []
    for encoder, tokenizer in zip(learning.prompts.encoders, learning.prompts.tokenizers, strict=True):
        letters = tokenizer("holes", add_special_tokens=False).input_ids
        means.append(encoder.get_input_embeddings().weight[letters].mean(0))
        plain, taught = tokenizer(["a on metal", PROMPT], add_special_tokens=False).input_ids
        assert taught == [plain[0], len(tokenizer) - 2, *plain[1:]]
    vectors = learning.token_vectors()
    assert list(vectors) == ["<pitting>", "<rust>"]
    assert vectors["<pitting>"].shape == (width,)
    torch.testing.assert_close(vectors["<pitting>"], torch.cat(means))


@PAIR
def test_adding_a_token_leaves_other_prompts_as_they_are(backbone_of: BackboneOf, kind: Kind) -> None:
    shared, mine = backbone_of(kind), backbone_of(kind).private()
    mine.add_token("<pitting>", "holes", 0)
    found, wanted = mine.embed_prompts(["a hole", ""]), shared.embed_prompts(["a hole", ""])
    assert torch.equal(found.states, wanted.states)
    assert found.pooled is wanted.pooled is None or torch.equal(found.pooled, wanted.pooled)
    assert not torch.equal(mine.embed_prompts([PROMPT]).states, shared.embed_prompts([PROMPT]).states)


@PAIR
def test_training_a_token_moves_its_own_row_alone(learning: Backbone) -> None:
    before, vectors = tables(learning), learning.token_vectors()
    frozen = {name: value.clone() for name, value in learning.prompts.encoders.state_dict().items()}
    remembered = learning.embed_prompts([PROMPT]).states
    optimizer = torch.optim.AdamW(learning.token_parameters(), lr=0.1, weight_decay=0.5)
    text = learning.embed_live([PROMPT])
    assert torch.equal(text.states, remembered)
    text.states.square().mean().backward()
    gradients = [parameter.grad for parameter in learning.token_parameters() if parameter.grad is not None]
    assert [bool(gradient.any()) for gradient in gradients] == [True, False] * len(learning.prompts.encoders)
    reached = [parameter for parameter in learning.prompts.encoders.parameters() if parameter.grad is not None]
    assert len(reached) == len(gradients)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(tables(learning), before, strict=True))
    moved = {
        name for name, value in learning.prompts.encoders.state_dict().items() if not torch.equal(value, frozen[name])
    }
    assert all(".vectors." in name for name in moved)
    assert (learning.token_vectors()["<pitting>"] - vectors["<pitting>"]).abs().min() > 1e-3
    assert not torch.equal(learning.embed_prompts([PROMPT]).states, remembered)


@PAIR
def test_learned_vectors_travel_to_another_copy(backbone_of: BackboneOf, learning: Backbone, kind: Kind) -> None:
    with torch.no_grad():
        for parameter in learning.token_parameters():
            parameter.add_(1)
    other = backbone_of(kind).private()
    for token, vector in learning.token_vectors().items():
        other.set_token(token, vector)
    found, wanted = other.embed_prompts([PROMPT, "<rust>"]), learning.embed_prompts([PROMPT, "<rust>"])
    assert torch.equal(found.states, wanted.states)
    assert found.pooled is wanted.pooled is None or torch.equal(found.pooled, wanted.pooled)
    assert not any(parameter.requires_grad for parameter in other.token_parameters())
    other.set_token("<rust>", torch.zeros_like(other.token_vectors()["<rust>"]))
    assert not torch.equal(other.embed_prompts(["<rust>"]).states, wanted.states[1:])
    with pytest.raises(ValueError, match=r"vector of <rust> has shape \(3,\)"):
        other.set_token("<rust>", torch.zeros(3))


def test_sdxl_pools_at_the_end_and_not_at_the_learned_token(backbone_of: BackboneOf) -> None:
    backbone = backbone_of("sdxl").private()
    backbone.add_token("<pitting>", "holes", 0)
    encoder, tokenizer = backbone.prompts.encoders[1], backbone.prompts.tokenizers[1]
    ids = tokenizer([PROMPT], padding="max_length", max_length=16, return_tensors="pt").input_ids
    place = ids[0].tolist().index(tokenizer.convert_tokens_to_ids(END))
    states = encoder(ids).last_hidden_state[0]
    assert ids[0].argmax() != place
    wanted = encoder.text_projection(states[place])
    pooled = backbone.embed_prompts([PROMPT]).pooled
    assert pooled is not None
    torch.testing.assert_close(pooled[0], wanted, rtol=0, atol=1e-6)


def test_without_words_a_token_starts_from_its_seed(backbone: Backbone) -> None:
    found = []
    for seed in (1, 1, 2):
        mine = backbone.private()
        mine.add_token("<pitting>", "", seed)
        found.append(mine.token_vectors()["<pitting>"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_known_token_is_refused(backbone: Backbone) -> None:
    mine = backbone.private()
    mine.add_token("<pitting>", "holes", 0)
    with pytest.raises(ValueError, match=r"the tokenizer knows <pitting> already"):
        mine.add_token("<pitting>", "holes", 0)


def test_learned_tokens_of_a_half_precision_model_stay_float32(backbone: Backbone) -> None:
    mine = backbone.private()
    mine.add_token("<pitting>", "holes", 0)
    before = mine.token_vectors()["<pitting>"]
    mine.to("cpu", torch.bfloat16)
    assert torch.equal(mine.token_vectors()["<pitting>"], before)
    assert mine.embed_prompts([PROMPT]).states.dtype == torch.bfloat16
