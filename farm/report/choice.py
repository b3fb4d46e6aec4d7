"""Which samples and test photographs a page of limited size shows. Deterministic, and the same for any shard size."""

from collections import defaultdict
from itertools import zip_longest

import numpy as np
import numpy.typing as npt

from farm.report.inputs import OUTCOMES
from farm.rows import Array, Batch

_TURN_BY = ("outcome", "method", "defect", "reason")


def choose_samples(samples: Batch, limit: int) -> list[int]:
    """Positions in ``samples`` of at most ``limit`` rows, balanced over outcome, then method, defect and reason.

    Outcomes take turns, one row each; inside an outcome the methods do, and so on. Which row of a group comes first is
    decided by the sample id, a hash, so that the choice favours nothing. Any prefix of the answer is balanced too.
    """
    by_id = np.argsort(samples["sample_id"].astype(str), kind="stable").tolist()
    return _dealt(by_id, [samples[name] for name in _TURN_BY])[:limit]


def _dealt(positions: list[int], columns: list[Array]) -> list[int]:
    """``positions`` dealt so that the values of the first column take turns, and so on inside each of them."""
    if not columns:
        return positions
    groups: dict[str, list[int]] = defaultdict(list)
    for position in positions:
        groups[str(columns[0][position])].append(position)
    queues = [_dealt(groups[value], columns[1:]) for value in sorted(groups, key=_rank)]
    return [position for turn in zip_longest(*queues) for position in turn if position is not None]


def _rank(value: str) -> tuple[int, str]:
    return (OUTCOMES.index(value) if value in OUTCOMES else len(OUTCOMES)), value


def wrongness(scores: Array, labels: Array) -> npt.NDArray[np.int64]:
    """(N,) how many photographs of the other class stand on the wrong side of each one; ties count."""
    values, defective = scores.astype(np.float64), labels.astype(np.int64) > 0
    good, bad = np.sort(values[~defective]), np.sort(values[defective])
    above = good.size - np.searchsorted(good, values, side="left")  # good ones scored at least as high
    below = np.searchsorted(bad, values, side="right")  # defective ones scored at most as high
    return np.where(defective, above, below)


def choose_photos(scores: Array, labels: Array, limit: int) -> list[int]:
    """Positions of the worst misses first: two thirds defective photographs, one third good ones where both exist.

    Worst is the largest share of the other class on the wrong side; among equals, the least clear of its own class.
    """
    values, defective = scores.astype(np.float64), labels.astype(np.int64) > 0
    others = np.where(defective, (~defective).sum(), defective.sum())
    order = np.lexsort((_clearness(values, defective), -wrongness(scores, labels) / np.maximum(others, 1)))
    bad, good = order[defective[order]], order[~defective[order]]
    few_good = min(good.size, max(limit // 3, limit - bad.size))
    chosen = {*bad[: limit - few_good].tolist(), *good[:few_good].tolist()}
    return [position for position in order.tolist() if position in chosen]


def _clearness(values: npt.NDArray[np.float64], defective: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(N,) the share of its own class that is less clear than each photograph; comparable between the classes."""
    clear = np.empty(values.size)
    for own, sign in ((defective, 1), (~defective, -1)):
        mine = sign * values[own]
        clear[own] = np.searchsorted(np.sort(mine), mine) / max(1, mine.size)
    return clear
