"""The formulas over counts that all rankings share (card 005 section A).

Thresholds run from the highest down along the last axis, T; leading axes, as of resampled test sets, are kept.

    hits    (..., T)  positives with score >= threshold; the last one is all of them
    alarms  (..., T)  negatives with score >= threshold
    tied    (..., T)  those of the alarms whose score is the threshold itself

A class without any score gives ``nan``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def roc_area(hits: Numbers, alarms: Numbers, tied: Numbers, negatives: Numbers | int) -> Floats:
    """P(score of a positive > score of a negative) + 0.5 P(tie); ``negatives`` (...) counts all of them."""
    below = np.asarray(negatives, np.float64)[..., None] - alarms
    wins = (np.diff(hits, prepend=0) * (below + 0.5 * tied)).sum(axis=-1)
    return _ratio(_ratio(wins, hits[..., -1]), negatives)


def precision_area(hits: Numbers, alarms: Numbers) -> Floats:
    """sum_n (R_n - R_(n-1)) P_n, without interpolation."""
    return _ratio((np.diff(hits, prepend=0) * precision(hits, alarms)).sum(axis=-1), hits[..., -1])


def best_f1(hits: Numbers, alarms: Numbers) -> Floats:
    """max of 2PR / (P + R) = 2 hits / (hits + alarms + positives)."""
    return _ratio(2 * hits, hits + alarms + hits[..., -1:]).max(axis=-1)


def precision(hits: Numbers, alarms: Numbers) -> Floats:
    """hits / (hits + alarms); 0 where there is neither."""
    return _ratio(hits, hits + alarms, empty=0.0)


def area_up_to(x: Floats, y: Floats, limit: float) -> Floats:
    """Trapezoid under ``y`` for ``x`` from 0 to ``limit``, linear between points; ``x`` ascends from 0."""
    width = np.diff(x)
    inside = np.diff(np.minimum(x, limit))
    rise = np.diff(y) * _ratio(inside, width, empty=0.0)
    return np.asarray((inside * (y[..., :-1] + 0.5 * rise)).sum(axis=-1))


def _ratio(above: Numbers, below: Numbers | int, empty: float = np.nan) -> Floats:
    """above / below, ``empty`` where ``below`` is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), below)
    return np.divide(above, below, out=np.full(above.shape, empty), where=below != 0)
