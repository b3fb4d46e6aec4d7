"""Noise levels: the alpha-bar table of a scheduler config, and the S levels of it that DDIM walks.

alpha-bar_t is the cumulative product of (1 - beta_t): DDIM (Song et al. 2020, arXiv 2010.02502) and card 001 write it
alpha_t. Keys and defaults are those of diffusers' ``DDIMScheduler.from_config``, whatever class the config names, so
that the PNDM and Euler configs of Stable Diffusion checkpoints mean here what they mean there. All float64.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from farm.errors import ConfigError, WeightsError

Table = npt.NDArray[np.float64]

_DEFAULTS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "set_alpha_to_one": True,
    "steps_offset": 0,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
}

INVERSION_TOLERANCE = 1e-3  # of a latent's norm: where two candidates differ by less, a step is not refined further


class Level(NamedTuple):
    """One noise level: the time the network is asked at, and alpha-bar there. The clean level has time -1."""

    time: int
    abar: float


@dataclass(frozen=True)
class Schedule:
    """What a model was trained with: alpha-bar at each training time, and how its output reads."""

    abar: Table  # (T,)
    clean_abar: float  # alpha-bar of the level below the first time
    prediction: str  # epsilon or v_prediction
    spacing: str  # leading, trailing or linspace
    steps_offset: int

    def levels(self, steps: int) -> tuple[Level, ...]:
        """S + 1 levels in ascending noise: the clean one, then the DDIM times t_1 < ... < t_S."""
        if steps > len(self.abar):
            raise ConfigError(f"steps is {steps}; the model was trained on {len(self.abar)} times, take at most that")
        times = _TIMES[self.spacing](steps, len(self.abar), self.steps_offset)
        return (Level(-1, self.clean_abar), *(Level(int(time), float(self.abar[time])) for time in times))


def read_schedule(config: Mapping[str, Any], where: str) -> Schedule:
    """The schedule that a ``scheduler_config.json`` says; ``WeightsError`` naming ``where`` and key if unusable."""
    known = {**_DEFAULTS, **{key: value for key, value in config.items() if key in _DEFAULTS}}
    _allow(where, "prediction_type", known["prediction_type"], ("epsilon", "v_prediction"))
    _allow(where, "timestep_spacing", known["timestep_spacing"], tuple(_TIMES))
    if known["rescale_betas_zero_snr"]:
        raise WeightsError(
            f"{where}: rescale_betas_zero_snr is true; alpha-bar must stay above 0, so that DDIM inverts"
        )
    abar: Table = np.cumprod(1.0 - _betas(known, where), dtype=np.float64)
    clean = 1.0 if known["set_alpha_to_one"] else float(abar[0])
    return Schedule(abar, clean, known["prediction_type"], known["timestep_spacing"], int(known["steps_offset"]))


def _betas(known: Mapping[str, Any], where: str) -> Table:
    if known["trained_betas"] is not None:
        return np.asarray(known["trained_betas"], dtype=np.float64)
    kind, count = known["beta_schedule"], int(known["num_train_timesteps"])
    _allow(where, "beta_schedule", kind, ("linear", "scaled_linear", "squaredcos_cap_v2"))
    if kind == "squaredcos_cap_v2":
        return _cosine_betas(count)
    power = 2.0 if kind == "scaled_linear" else 1.0
    ends = known["beta_start"] ** (1 / power), known["beta_end"] ** (1 / power)
    betas: Table = np.linspace(*ends, count, dtype=np.float64) ** power
    return betas


def _cosine_betas(count: int) -> Table:
    """Nichol and Dhariwal 2021 (arXiv 2102.09672), Eq. (17), betas capped at 0.999."""
    level = [math.cos((step / count + 0.008) / 1.008 * math.pi / 2) ** 2 for step in range(count + 1)]
    return np.minimum(1.0 - np.asarray(level[1:]) / np.asarray(level[:-1]), 0.999)


def _leading(steps: int, count: int, offset: int) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = np.arange(steps, dtype=np.int64) * (count // steps) + offset
    return np.minimum(times, count - 1)


def _trailing(steps: int, count: int, _: int) -> npt.NDArray[np.int64]:
    return np.round(np.arange(1, steps + 1) * (count / steps)).astype(np.int64) - 1


def _linspace(steps: int, count: int, _: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, count - 1, steps).round().astype(np.int64)


_TIMES = {"leading": _leading, "trailing": _trailing, "linspace": _linspace}


def _allow(where: str, key: str, found: object, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise WeightsError(f"{where}: {key} is {found!r}; it must be one of {', '.join(allowed)}")
