import numpy as np
import pytest
import torch

from farm.diffusion.backbone import Backbone
from farm.diffusion.ddim import invert_within, sample
from farm.diffusion.inversion import Inverter
from farm.diffusion.schedule import INVERSION_TOLERANCE, Level
from tests.tiny import surface


@pytest.fixture(scope="module")
def inverter(backbone: Backbone) -> Inverter:
    return Inverter(backbone, steps=5, fixed_point=2, batch_size=4)


def test_trajectory_starts_at_the_encoded_photograph(inverter: Inverter, backbone: Backbone) -> None:
    source = surface(4, 64)
    made = inverter(source, ["cloth"] * 4)
    assert made.shape == (4, 6, 4, 8, 8)
    assert made.dtype == np.float16
    np.testing.assert_array_equal(made[:, 0], backbone.encode(source).half().numpy())


def test_a_row_is_the_same_bytes_in_any_company_and_number(inverter: Inverter) -> None:
    source, prompts = surface(6, 64), [f"cloth {index % 2}" for index in range(6)]
    whole = inverter(source, prompts)
    for row in range(6):
        np.testing.assert_array_equal(inverter(source[row : row + 1], prompts[row : row + 1])[0], whole[row])
    order = [5, 0, 3]
    np.testing.assert_array_equal(inverter(source[order], [prompts[row] for row in order]), whole[order])


def test_text_decides(inverter: Inverter) -> None:
    source = surface(1, 64)
    assert not np.array_equal(inverter(source, ["cloth"])[:, 1:], inverter(source, ["a metal plate"])[:, 1:])


def test_evaluations_are_those_that_the_network_saw(
    inverter: Inverter, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = backbone.unet.forward

    def spy(z: torch.Tensor, *args: object, **kwargs: object) -> object:
        seen.append(len(z))
        return forward(z, *args, **kwargs)

    monkeypatch.setattr(backbone.unet, "forward", spy)
    before = inverter.spent
    inverter(surface(1, 64), ["cloth"])
    assert seen == [4] * (inverter.spent - before)
    assert 5 < inverter.spent - before <= 15


def test_half_precision_storage_costs_little(inverter: Inverter, backbone: Backbone) -> None:
    """fp16 rounds a latent by 2^-11 of itself at most, and sampling from it ends near where float32 ends."""
    source, text = surface(4, 64), backbone.embed_prompts(["cloth"] * 4)

    def predict(z: torch.Tensor, level: Level) -> torch.Tensor:
        return backbone.predict(z, level.time, text)

    z0, rounds = backbone.encode(source), inverter.fixed_point
    exact, _ = invert_within(predict, z0, inverter.levels, rounds, INVERSION_TOLERANCE)
    stored = torch.from_numpy(inverter(source, ["cloth"] * 4)).float()
    assert ((stored - exact).abs() <= exact.abs() * 2**-11 + 2**-25).all()
    ends = [sample(predict, latents[:, -1], inverter.levels) for latents in (stored, exact)]
    amplified = 2**-11 * exact[:, -1].abs().max() / inverter.levels[-1].abar ** 0.5  # by the coefficients alone
    assert (ends[0] - ends[1]).abs().max() < 3 * amplified
