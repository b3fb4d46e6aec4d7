"""How sure a gain is: a paired bootstrap over groups of photographs (decision 10).

Two detectors are compared on the same resampled test set, so that what both find hard cancels. Photographs of one
part are not independent: they share a group, and whole groups are drawn.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.ids import generator
from farm.metrics.curves import Numbers

Metric = Callable[[Numbers, Numbers], float]


def gain_interval(
    metric: Metric,
    before: Numbers,
    after: Numbers,
    labels: Numbers,
    groups: npt.NDArray[Any],
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The middle 95 % of ``metric(after) - metric(before)`` over ``draws`` resampled test sets.

    All arrays are (N,) and belong to the same photographs in the same order; ``groups`` says which of them come from
    one part. Draws that miss a class are left out; (nan, nan) where more than half of them do.
    """
    names, member = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(member == group) for group in range(names.size)]
    random = generator(seed, "gain interval")
    gains = []
    for _ in range(draws if members else 0):
        drawn = np.concatenate([members[group] for group in random.integers(0, len(members), len(members))])
        gains.append(metric(after[drawn], labels[drawn]) - metric(before[drawn], labels[drawn]))
    defined = np.array([gain for gain in gains if not math.isnan(gain)])
    if 2 * defined.size <= draws:
        return math.nan, math.nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)
