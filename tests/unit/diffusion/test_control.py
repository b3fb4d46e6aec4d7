"""The control branch, card 004 test 2."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.control import build_control
from farm.errors import WeightsError
from tests.tiny import Kind

BackboneOf = Callable[[Kind], Backbone]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hint(rows: int, side: int = 64) -> torch.Tensor:
    return torch.rand(rows, 3, side, side, generator=torch.Generator().manual_seed(5))


def steered(
    backbone: Backbone, branch: Any, z: torch.Tensor, time: Any, prompts: list[str], hints: torch.Tensor
) -> Any:
    residuals = backbone.control_residuals(branch, z, time, None, hints)
    return backbone.predict(z, time, backbone.embed_prompts(prompts), residuals=residuals)


def trained(backbone: Backbone, steps: int = 1) -> Any:
    branch = backbone.control(seed=1)
    optimizer = torch.optim.AdamW(branch.parameters(), lr=0.01)
    z, noise = draw(2, backbone.latent_channels, 8, 8), draw(2, backbone.latent_channels, 8, 8, seed=1)
    for _ in range(steps):
        optimizer.zero_grad()
        (steered(backbone, branch, z, 500, ["cloth"] * 2, hint(2)) - noise).square().mean().backward()
        optimizer.step()
    return branch


# card 004 7.2, first half
@pytest.mark.parametrize("kind", ["sd15", "sd21", "sdxl"])
def test_a_fresh_branch_gives_the_plain_unet_bitwise(backbone_of: BackboneOf, kind: Kind) -> None:
    backbone, z = backbone_of(kind), draw(2, 4, 8, 8)
    branch = backbone.control(seed=1)
    plain = backbone.predict(z, 500, backbone.embed_prompts(["a hole"] * 2))
    assert torch.equal(steered(backbone, branch, z, 500, ["a hole"] * 2, hint(2)), plain)


def test_it_fits_the_embedded_model() -> None:
    backbone = load_backbone(ModelConfig(), ComputeConfig(threads=1))
    z, branch = draw(1, backbone.latent_channels, 8, 8), backbone.control(seed=1)
    plain = backbone.predict(z, 500, backbone.embed_prompts(["a hole"]))
    assert torch.equal(steered(backbone, branch, z, 500, ["a hole"], hint(1)), plain)


# card 004 7.2, second half
@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_one_step_changes_control_parameters_only(backbone_of: BackboneOf, kind: Kind) -> None:
    backbone = backbone_of(kind).private()
    parts = {"unet": backbone.unet, "vae": backbone.vae, "text": backbone.prompts.encoders}
    before = {name: {k: v.clone() for k, v in part.state_dict().items()} for name, part in parts.items()}
    fresh, branch = backbone.control(seed=1).state_dict(), trained(backbone)
    for name, part in parts.items():
        assert all(torch.equal(value, before[name][key]) for key, value in part.state_dict().items())
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in part.parameters())
    moved = {key for key, value in branch.state_dict().items() if not torch.equal(value, fresh[key])}
    assert {"controlnet_mid_block.weight", "controlnet_down_blocks.0.weight"} <= moved
    z = draw(2, 4, 8, 8)
    plain = backbone.predict(z, 500, backbone.embed_prompts(["cloth"] * 2))
    assert (steered(backbone, branch, z, 500, ["cloth"] * 2, hint(2)) - plain).abs().max() > 1e-4


def test_the_hint_is_read_after_some_steps(backbone: Backbone) -> None:
    branch, z = trained(backbone, steps=3), draw(2, 4, 8, 8)
    one, other = (steered(backbone, branch, z, 500, ["cloth"] * 2, value) for value in (hint(2), 1 - hint(2)))
    assert (one - other).abs().max() > 1e-5


def test_the_branch_reads_the_empty_prompt_unless_told(backbone: Backbone) -> None:
    branch, z = trained(backbone), draw(2, 4, 8, 8)
    given = [
        backbone.control_residuals(branch, z, 500, text, hint(2), 1.0)[1]
        for text in (None, backbone.embed_prompts(["", ""]), backbone.embed_prompts(["a hole"] * 2))
    ]
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2])


def test_the_scale_multiplies_what_is_added(backbone: Backbone) -> None:
    branch, z = trained(backbone), draw(2, 4, 8, 8)
    (whole, middle), (half, half_middle) = (
        backbone.control_residuals(branch, z, 500, None, hint(2), scale) for scale in (1.0, 0.5)
    )
    assert all(torch.equal(a * 0.5, b) for a, b in zip((*whole, middle), (*half, half_middle), strict=True))


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_steered_row_is_the_same_bits_in_any_company(backbone_of: BackboneOf, kind: Kind) -> None:
    backbone = backbone_of(kind)
    branch, z, hints, times = trained(backbone), draw(4, 4, 8, 8), hint(4), torch.tensor([1, 300, 600, 900])
    prompts = ["cloth", "a hole", "", "rust"]
    whole = steered(backbone, branch, z, times, prompts, hints)
    for row in range(4):
        rows = [row] * 4
        alone = steered(backbone, branch, z[rows], times[rows], [prompts[row]] * 4, hints[rows])
        assert torch.equal(alone[0], whole[row])


def test_its_seed_alone_says_what_a_branch_starts_from(backbone: Backbone) -> None:
    state = torch.get_rng_state()
    first, same, other = (backbone.control(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], same[name]) for name in first)
    differing = {name.split(".")[0] for name in first if not torch.equal(first[name], other[name])}
    assert differing == {"controlnet_cond_embedding"}


def test_a_half_precision_model_has_a_float32_branch(backbone: Backbone) -> None:
    half = backbone.private().to("cpu", torch.bfloat16)
    branch, z = half.control(seed=1), draw(2, 4, 8, 8)
    assert {parameter.dtype for parameter in branch.parameters()} == {torch.float32}
    plain = half.predict(z, 500, half.embed_prompts(["cloth"] * 2))
    assert torch.equal(steered(half, branch, z, 500, ["cloth"] * 2, hint(2)), plain)


def test_what_cannot_be_steered_is_said(backbone: Backbone) -> None:
    with pytest.raises(WeightsError, match=r"at factor 8; this model's autoencoder has 4"):
        build_control(backbone.unet, 4, 0)
    mine = backbone.private()
    mine.add_lora(2, 0)
    with pytest.raises(ValueError, match=r"merge_lora\(\) first"):
        mine.control(0)
