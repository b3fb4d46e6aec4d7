"""Metrics of a ranking: scores of any shape against labels of the same shape, pooled (card 005 section A).

Everything follows from two counts at a threshold t: hits = positives with score >= t, and alarms = negatives with
score >= t. The thresholds that matter are ALL distinct scores of positives, never a grid: between two of them hits
stand still, so that no sum has a term there and no maximum lies there. Scores of negatives alone need not be listed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.metrics import curves
from farm.metrics.curves import Floats, Numbers

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """Counts at every distinct score of a positive, highest first."""

    thresholds: Numbers  # (T,) distinct scores of positives, descending
    hits: Counts  # (T,) positives with score >= threshold
    alarms: Counts  # (T,) negatives with score >= threshold
    tied: Counts  # (T,) negatives whose score is the threshold
    negatives: int

    @property
    def positives(self) -> int:
        """How many scores have label 1."""
        return int(self.hits[-1]) if self.hits.size else 0

    @property
    def defined(self) -> bool:
        """Whether both classes are there; without both, every metric of the ranking is ``nan``."""
        return self.positives > 0 and self.negatives > 0

    def auroc(self) -> float:
        """P(score of a positive > score of a negative) + 0.5 P(tie)."""
        if not self.defined:
            return math.nan
        return float(curves.roc_area(self.hits, self.alarms, self.tied, self.negatives))

    def average_precision(self) -> float:
        """sum_n (R_n - R_(n-1)) P_n over all distinct thresholds, without interpolation."""
        return float(curves.precision_area(self.hits, self.alarms)) if self.defined else math.nan

    def f1_max(self) -> float:
        """max of 2PR / (P + R) over all distinct thresholds."""
        return float(curves.best_f1(self.hits, self.alarms)) if self.defined else math.nan

    def far_at_full_recall(self) -> float:
        """The share of negatives with a score >= the lowest of a positive: what missing no defect costs.

        A negative that ties with that positive is an alarm: no threshold tells the two apart.
        """
        return float(self.alarms[-1] / self.negatives) if self.defined else math.nan

    def recall_at_far(self, rate: float) -> float:
        """The highest recall of any threshold that at most ``rate`` of the negatives reach; 0 where none is so.

        Negatives that tie with a threshold are alarms of it, and nothing is interpolated: a line has one threshold.
        With fewer than 1 / ``rate`` negatives no alarm at all is allowed. Raises ``ValueError`` outside [0, 1].
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"the false-alarm rate is {rate}; it must be between 0 and 1")
        if not self.defined:
            return math.nan
        allowed = int(np.count_nonzero(self.alarms / self.negatives <= rate))  # alarms never fall on the way down
        return float(self.hits[allowed - 1] / self.positives) if allowed else 0.0

    def over_alarms(self, heights: Floats) -> tuple[Floats, Floats]:
        """(false positive rate, ``heights``) (2T + 2,) from (0, 0) to the right edge: a curve that is linear between.

        ``heights`` (T,) hold at the thresholds. From one to the next, the negatives between the two scores come first,
        at a standing height, and then those that tie with the positives, in a straight rise.
        """
        alarms = np.stack([self.alarms - self.tied, self.alarms], axis=1).reshape(-1)
        levels = np.repeat(heights, 2)
        x = np.concatenate([[0], alarms, [self.negatives]]) / self.negatives
        return x, np.concatenate([[0.0, 0.0], levels])


def rank(scores: Numbers, labels: Numbers) -> Ranking:
    """The counts of ``scores`` (any shape) against ``labels`` (same shape; non-zero is positive).

    A NaN among the scores gives an empty ranking, whose metrics are ``nan``. Raises ``ValueError`` where the shapes
    differ. Pixels of many maps: see ``PixelScores``, which takes them one map at a time.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.shape != labels.shape:
        raise ValueError(f"scores have shape {scores.shape} but labels {labels.shape}; they must be equal")
    values, positive = sortable(scores).reshape(-1), labels.reshape(-1) != 0
    if broken(values):
        return count(values[:0], [])
    return count(values[positive], [values[~positive]])


def count(positives: Numbers, negatives: Iterable[Numbers]) -> Ranking:
    """The ranking of ``positives`` (P,) among blocks of ``negatives``, which may come one by one; both free of NaN.

    Each block is sorted in place, so that nothing but the block in hand is held.
    """
    thresholds, numbers = distinct_scores(positives)
    alarms, tied, total = np.zeros(thresholds.size, np.int64), np.zeros(thresholds.size, np.int64), 0
    for block in negatives:
        block.sort()
        total += block.size
        below = np.searchsorted(block, thresholds)
        alarms += block.size - below
        equal = np.flatnonzero(block[np.minimum(below, block.size - 1)] == thresholds) if block.size else below[:0]
        tied[equal] += np.searchsorted(block, thresholds[equal], side="right") - below[equal]
    hits = np.cumsum(numbers[::-1])
    return Ranking(thresholds[::-1], hits, alarms[::-1], tied[::-1], total)


def distinct_scores(values: Numbers) -> tuple[Numbers, Counts]:
    """(distinct values ascending, how often each occurs); NaN-free input."""
    ordered = np.sort(values)
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, ordered.size), bool), ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.diff(starts, append=ordered.size)


def sortable(values: Numbers) -> Numbers:
    """``values``, or their float32 where they are float16: those sort ten times faster."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def broken(values: Numbers) -> bool:
    """Whether there is a NaN among ``values``."""
    return bool(np.issubdtype(values.dtype, np.floating) and np.isnan(values).any())
