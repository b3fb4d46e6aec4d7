import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from farm.diffusion.ddim import add_noise, clean, invert, invert_within, move, sample
from farm.diffusion.schedule import Level, read_schedule
from tests.tiny import SD15_SCHEDULER, noise, toy

SCHEDULE = read_schedule(SD15_SCHEDULER, "here")


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def test_a_step_equals_diffusers_ddim() -> None:
    scheduler = DDIMScheduler(**{k: v for k, v in SD15_SCHEDULER.items() if k not in ("_class_name", "skip_prk_steps")})
    scheduler.set_timesteps(20)
    x, eps = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1)
    here, there = SCHEDULE.levels(20)[9], SCHEDULE.levels(20)[8]
    wanted = scheduler.step(eps, here.time, x).prev_sample
    torch.testing.assert_close(move(x, eps, here.abar, there.abar), wanted, rtol=1e-5, atol=1e-5)


def test_there_and_back_with_the_same_noise_is_nothing() -> None:
    x, eps = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1)
    back = move(move(x, eps, 0.9, 0.01), eps, 0.01, 0.9)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)


def test_rows_may_have_their_own_levels() -> None:
    x, eps = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1)
    both = move(x, eps, torch.tensor([0.9, 0.5]), torch.tensor([0.3, 0.7]))
    assert torch.equal(both[:1], move(x[:1], eps[:1], torch.tensor(0.9), torch.tensor(0.3)))
    assert torch.equal(both[1:], move(x[1:], eps[1:], torch.tensor(0.5), torch.tensor(0.7)))


# card 001 7.7
def test_noise_then_clean_gives_z0_back() -> None:
    """Alpha is the cumulative product everywhere."""
    z0, eps = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1)
    for level in SCHEDULE.levels(10):
        torch.testing.assert_close(clean(add_noise(z0, eps, level.abar), eps, level.abar), z0, rtol=0, atol=1e-12)


def error_of_round_trip(steps: int, fixed_point: int) -> float:
    z0, levels = noise(2, 4, 6, 6), SCHEDULE.levels(steps)
    trajectory = invert(toy, z0, levels, fixed_point)
    return rms(sample(toy, trajectory[:, -1], levels) - z0)


# card 001 7.4
def test_plain_inversion_is_first_order_and_refinement_closes_it() -> None:
    plain = error_of_round_trip(50, 0)
    assert 0.4 < error_of_round_trip(100, 0) / plain < 0.65
    assert error_of_round_trip(50, 5) < 1e-4 < plain


def test_inversion_asks_at_the_time_of_the_reverse_step_and_counts() -> None:
    asked: list[tuple[int, int]] = []

    def view(z: Tensor, level: Level) -> Tensor:
        asked.append((level.time, -2))
        return z

    def predict(z: Tensor, level: Level) -> Tensor:
        asked[-1] = (asked[-1][0], level.time)
        return toy(z, level)

    levels = SCHEDULE.levels(2)
    trajectory = invert(predict, noise(1, 4, 3, 3), levels, 1, view)
    first, second = levels[1].time, levels[2].time
    assert asked == [(-1, first), (first, first), (first, second), (second, second)]
    assert trajectory.shape == (1, 3, 4, 3, 3)
    assert torch.equal(trajectory[:, 0], noise(1, 4, 3, 3))


def steep(z: Tensor, level: Level) -> Tensor:
    """Noise that depends on the latent strongly near z_0 and hardly at all later, as a network's does."""
    return torch.sin(3 * z) * level.abar**2


def test_rounds_go_to_the_steps_that_need_them() -> None:
    z0, levels, counted = noise(3, 4, 6, 6), SCHEDULE.levels(20), list[int]()

    def predict(z: Tensor, level: Level) -> Tensor:
        counted.append(level.time)
        return steep(z, level)

    trajectory, evaluations = invert_within(predict, z0, levels, 3, 5e-4)
    rounds = [counted.count(level.time) - 1 for level in levels[1:]]
    assert max(rounds) > 3
    assert min(rounds) >= 1
    assert (evaluations <= 80).all()
    evenly = invert(steep, z0, levels, 3)
    errors = [rms(sample(steep, one[:, -1], levels) - z0) for one in (trajectory, evenly)]
    assert errors[0] < errors[1] / 2


def test_the_purse_of_a_row_is_its_own_and_is_never_overdrawn() -> None:
    z0, levels = noise(4, 4, 6, 6), SCHEDULE.levels(6)
    together, evaluations = invert_within(toy, z0, levels, 2, 0.0)
    assert evaluations.tolist() == [18] * 4
    loose, fewer = invert_within(toy, z0, levels, 2, 0.2)
    assert (fewer < 18).all()
    for row in range(4):
        alone, count = invert_within(toy, z0[row : row + 1], levels, 2, 0.2)
        torch.testing.assert_close(alone[0], loose[row], rtol=0, atol=1e-12)
        assert count.tolist() == [fewer[row]]
    assert torch.equal(invert_within(toy, z0, levels, 0, 0.2)[0], invert(toy, z0, levels, 0))
    assert together.shape == (4, 7, 4, 6, 6)


@pytest.mark.parametrize("steps", [1, 5])
def test_hold_sees_every_level_once(steps: int) -> None:
    seen: list[int] = []

    def hold(z: Tensor, index: int) -> Tensor:
        seen.append(index)
        return z

    sample(toy, noise(1, 4, 3, 3), SCHEDULE.levels(steps), hold)
    assert seen == list(range(steps, -1, -1))
