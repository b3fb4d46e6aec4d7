"""Masked cross-attention: each token reads the text of its region."""

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from farm.diffusion.attention import RegionAttention, mask_pyramid
from farm.diffusion.backbone import Backbone


def random_mask(height: int, width: int, rows: int = 2) -> torch.Tensor:
    return torch.rand(rows, 1, height, width, generator=torch.Generator().manual_seed(3)) < 0.3


@pytest.fixture
def parts() -> tuple[Attention, torch.Tensor, torch.Tensor, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attention = Attention(query_dim=16, cross_attention_dim=12, heads=2, dim_head=8, processor=AttnProcessor2_0())
        return attention.eval(), torch.randn(2, 24, 16), torch.randn(2, 5, 12), torch.randn(2, 5, 12)


def masked(attention: Attention, z: torch.Tensor, first: torch.Tensor, second: torch.Tensor, m: torch.Tensor):
    attention.set_processor(RegionAttention())
    return attention(z, encoder_hidden_states=torch.cat([first, second], 1), regions=mask_pyramid(m))


# card 001 7.6
@torch.no_grad()
def test_it_is_two_cross_attentions_chosen_by_token(parts) -> None:
    attention, z, first, second = parts
    inside, outside = attention(z, encoder_hidden_states=first), attention(z, encoder_hidden_states=second)
    m = random_mask(4, 6)
    wanted = torch.where(m.flatten(2).transpose(1, 2), inside, outside)
    torch.testing.assert_close(masked(attention, z, first, second, m), wanted, rtol=0, atol=1e-6)


# card 001 7.6
@torch.no_grad()
@pytest.mark.parametrize("value", [True, False])
def test_a_full_or_empty_mask_is_plain_attention(parts, value: bool) -> None:
    attention, z, first, second = parts
    plain = attention(z, encoder_hidden_states=first if value else second)
    m = torch.full((2, 1, 4, 6), value)
    torch.testing.assert_close(masked(attention, z, first, second, m), plain, rtol=0, atol=1e-6)


@torch.no_grad()
def test_without_regions_it_is_the_stock_processor(parts) -> None:
    attention, z, first, _ = parts
    plain = attention(z, encoder_hidden_states=first)
    attention.set_processor(RegionAttention())
    assert torch.equal(attention(z, encoder_hidden_states=first), plain)


# card 001 7.6
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 12), (7, 5), (64, 64), (1, 9)])
def test_one_cell_stays_in_every_level_of_the_pyramid(height: int, width: int) -> None:
    for place in range(0, height * width, 3):
        m = torch.zeros(1, 1, height, width, dtype=torch.bool)
        m.view(-1)[place] = True
        levels = mask_pyramid(m)
        assert levels[height * width].sum() == 1
        assert all(level.any() for level in levels.values())
    empty = mask_pyramid(torch.zeros(1, 1, height, width, dtype=torch.bool))
    assert not any(level.any() for level in empty.values())


# card 001 7.6
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (12, 6)])
def test_the_network_finds_its_resolutions_and_reads_each_text_in_its_place(
    backbone: Backbone, height: int, width: int
) -> None:
    z = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(1))
    first, second = backbone.embed_prompts(["a hole"] * 2), backbone.embed_prompts(["cloth"] * 2)
    both = first.beside(second)

    def predict(m: torch.Tensor) -> torch.Tensor:
        return backbone.predict(z, 500, both, mask_pyramid(m))

    ones = torch.ones(2, 1, height, width, dtype=torch.bool)
    torch.testing.assert_close(predict(ones), backbone.predict(z, 500, first), rtol=0, atol=1e-6)
    torch.testing.assert_close(predict(~ones), backbone.predict(z, 500, second), rtol=0, atol=1e-6)
    mixed = predict(random_mask(height, width))
    assert (mixed - predict(ones)).abs().max() > 1e-5 < (mixed - predict(~ones)).abs().max()
