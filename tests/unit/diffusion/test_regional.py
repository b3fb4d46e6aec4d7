"""Card 001 section 7 on analytic networks in float64; the same on a random U-Net is in test_background_aware."""

import pytest
import torch
from torch import Tensor

from farm.diffusion.ddim import add_noise, invert, sample, whole
from farm.diffusion.latents import blend, fill_hole
from farm.diffusion.regional import first_latent, hole_view, replay, two_pass
from farm.diffusion.schedule import Level, read_schedule
from tests.tiny import SD15_SCHEDULER, noise, toy

SCHEDULE = read_schedule(SD15_SCHEDULER, "here")
Z0, START, FILLER = noise(2, 4, 6, 6), noise(2, 4, 6, 6, seed=1), noise(2, 4, 6, 6, seed=2)
M = torch.zeros(2, 1, 6, 6, dtype=torch.bool)
M[0, 0, 1:3, 2:5] = True
M[1, 0, 5, 0] = True
VIEW = hole_view(M, FILLER)


def outside(z: Tensor) -> Tensor:
    return z[~M.expand_as(z)]


def ideal(z: Tensor, level: Level) -> Tensor:
    return (z - level.abar**0.5 * Z0) / (1 - level.abar) ** 0.5


def other(z: Tensor, level: Level) -> Tensor:
    return toy(z.flip(1), level) * 1.5


# card 001 7.1
@pytest.mark.parametrize("steps", [5, 10, 50])
def test_lemma_an_ideal_network_gives_the_background_back(steps: int) -> None:
    levels = read_schedule({**SD15_SCHEDULER, "set_alpha_to_one": True}, "here").levels(steps)
    made = two_pass(ideal, other, Z0, START, M, levels, VIEW, fixed_point=0)
    torch.testing.assert_close(outside(made), outside(Z0), rtol=0, atol=1e-10)
    assert (made - Z0)[M.expand_as(Z0)].abs().min() > 1e-3


# card 001 7.2, 7.3
def test_background_depends_on_no_defect_and_equals_plain_reconstruction() -> None:
    """For a network that is wrong everywhere."""
    levels = SCHEDULE.levels(8)
    made = two_pass(toy, other, Z0, START, M, levels, VIEW, 2)
    again = two_pass(toy, ideal, Z0, START * 3, M, levels, VIEW, 2)
    assert torch.equal(outside(made), outside(again))
    assert not torch.equal(made, again)
    noisy = invert(toy, Z0, levels, 2, VIEW)[:, -1]
    plain = sample(lambda z, level: toy(VIEW(z, level), level), noisy, levels)
    assert torch.equal(outside(made), outside(plain))


# card 001 7.2, negative control
def test_without_the_hole_the_defect_leaks_into_the_background() -> None:
    """The network sees z_t where it should see z_t^m."""
    levels = SCHEDULE.levels(8)
    made = two_pass(toy, other, Z0, START, M, levels, whole, 2)
    again = two_pass(toy, other, Z0, START * 3, M, levels, whole, 2)
    assert (outside(made) - outside(again)).abs().max() > 1e-2


# card 001 7.4: replay
def test_replay_keeps_the_background_exactly() -> None:
    levels = SCHEDULE.levels(8)
    trajectory = invert(toy, Z0, levels, 0)
    made = replay(other, trajectory, START, M, levels)
    assert torch.equal(outside(made), outside(Z0))
    assert (made - Z0)[M.expand_as(Z0)].abs().min() > 1e-3


def test_replay_shows_the_network_the_inverted_background_at_every_level() -> None:
    levels = SCHEDULE.levels(5)
    trajectory = invert(toy, Z0, levels, 1)
    seen: list[bool] = []

    def defect(z: Tensor, level: Level) -> Tensor:
        index = [known.time for known in levels].index(level.time)
        seen.append(torch.equal(outside(z), outside(trajectory[:, index])))
        return other(z, level)

    replay(defect, trajectory, START, M, levels)
    assert seen == [True] * 5


def test_hole_has_the_variance_of_its_level_and_the_rest_is_untouched() -> None:
    hidden = fill_hole(Z0, M, FILLER, 0.36)
    assert torch.equal(outside(hidden), outside(Z0))
    torch.testing.assert_close(hidden, blend(Z0, 0.8 * FILLER, M))


def test_start_is_noise_at_the_end_and_the_noised_source_before() -> None:
    level = SCHEDULE.levels(10)[6]
    assert torch.equal(first_latent(Z0, START, level, True), START)
    assert torch.equal(first_latent(Z0, START, level, False), add_noise(Z0, START, level.abar))
