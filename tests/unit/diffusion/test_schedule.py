from typing import Any

import numpy as np
import pytest
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from farm.diffusion.schedule import read_schedule
from farm.errors import ConfigError, WeightsError
from tests.tiny import SD15_SCHEDULER

CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": SD15_SCHEDULER,
    "defaults": {},
    "cosine": {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 400},
    "trailing": {**SD15_SCHEDULER, "timestep_spacing": "trailing", "set_alpha_to_one": True},
    "linspace": {**SD15_SCHEDULER, "timestep_spacing": "linspace"},
    "own betas": {"trained_betas": [0.001 * step for step in range(1, 61)], "num_train_timesteps": 60},
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("steps", [1, 7, 20, 50])
def test_levels_are_those_of_diffusers_ddim(name: str, steps: int) -> None:
    config = {key: value for key, value in CONFIGS[name].items() if not key.startswith("_") and "prk" not in key}
    theirs = DDIMScheduler(**config)
    theirs.set_timesteps(steps)
    levels = read_schedule(CONFIGS[name], "here").levels(steps)
    assert [level.time for level in levels[1:]] == sorted(theirs.timesteps.tolist())
    wanted = [theirs.final_alpha_cumprod, *theirs.alphas_cumprod[[level.time for level in levels[1:]]]]
    np.testing.assert_allclose([level.abar for level in levels], np.asarray(wanted, float), rtol=2e-5)


def test_abar_is_double_and_falls_strictly() -> None:
    schedule = read_schedule(SD15_SCHEDULER, "here")
    assert schedule.abar.dtype == np.float64
    assert (np.diff(schedule.abar) < 0).all()
    assert schedule.abar[-1] == pytest.approx(0.0046599, rel=1e-4)  # the known end of Stable Diffusion's schedule


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"prediction_type": "sample"}, "prediction_type is 'sample'; it must be one of epsilon, v_prediction"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule is 'sigmoid'"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
    ],
)
def test_a_schedule_that_cannot_be_inverted_is_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(WeightsError, match=r"scheduler_config.json: ") as caught:
        read_schedule({**SD15_SCHEDULER, **change}, "a/scheduler_config.json")
    assert text in str(caught.value)


def test_more_steps_than_training_times_are_refused() -> None:
    with pytest.raises(ConfigError, match="steps is 1001; the model was trained on 1000 times"):
        read_schedule(SD15_SCHEDULER, "here").levels(1001)
