"""Metrics of a ranking: scores of any shape against labels of the same shape, pooled (card 005 section A).

Everything follows from two counts at every distinct threshold t: hits = positives with score >= t, and alarms =
negatives with score >= t. Thresholds run over ALL distinct scores, never over a grid.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Counts at every distinct threshold, highest first. ``positives`` and ``negatives`` are the last counts."""

    thresholds: Numbers  # (T,) distinct scores, descending
    hits: npt.NDArray[np.int64]  # (T,) positives with score >= threshold
    alarms: npt.NDArray[np.int64]  # (T,) negatives with score >= threshold

    @property
    def positives(self) -> int:
        """How many scores have label 1."""
        return int(self.hits[-1]) if self.hits.size else 0

    @property
    def negatives(self) -> int:
        """How many scores have label 0."""
        return int(self.alarms[-1]) if self.alarms.size else 0

    @property
    def defined(self) -> bool:
        """Whether both classes are there; without both, every metric of the ranking is ``nan``."""
        return self.positives > 0 and self.negatives > 0

    def auroc(self) -> float:
        """P(score of a positive > score of a negative) + 0.5 P(tie)."""
        if not self.defined:
            return math.nan
        below = self.negatives - self.alarms.astype(np.float64)  # negatives strictly below each threshold
        tied = np.diff(self.alarms, prepend=0)
        wins = np.diff(self.hits, prepend=0) * (below + 0.5 * tied)
        return float(wins.sum() / self.positives / self.negatives)

    def average_precision(self) -> float:
        """sum_n (R_n - R_(n-1)) P_n over all distinct thresholds, without interpolation."""
        if not self.defined:
            return math.nan
        steps = np.diff(self.hits, prepend=0)
        return float((steps * (self.hits / (self.hits + self.alarms))).sum() / self.positives)

    def f1_max(self) -> float:
        """max of 2PR / (P + R) = 2 hits / (hits + alarms + positives) over all distinct thresholds."""
        if not self.defined:
            return math.nan
        return float((2 * self.hits / (self.hits + self.alarms + self.positives)).max())


def rank(scores: Numbers, labels: Numbers) -> Ranking:
    """The counts of ``scores`` (any shape) against ``labels`` (same shape; non-zero is positive).

    One sort: pooled pixels of 200 maps of 256x256 take about a second. A NaN among the scores gives an empty ranking,
    whose metrics are ``nan``. Raises ``ValueError`` where the shapes differ.
    """
    values, positive = _flat(scores, labels)
    distinct, counts = distinct_scores(values)
    hits = from_the_top(np.bincount(positions(distinct, values[positive]), minlength=distinct.size))
    return Ranking(distinct[::-1], hits, from_the_top(counts) - hits)


def auroc(scores: Numbers, labels: Numbers) -> float:
    """Area under the ROC curve, ties counted as a half; ``nan`` unless both classes are there."""
    return rank(scores, labels).auroc()


def average_precision(scores: Numbers, labels: Numbers) -> float:
    """Step-wise average precision; ``nan`` unless both classes are there."""
    return rank(scores, labels).average_precision()


def f1_max(scores: Numbers, labels: Numbers) -> float:
    """The best F1 that any threshold reaches; ``nan`` unless both classes are there."""
    return rank(scores, labels).f1_max()


def image_metrics(scores: Numbers, labels: Numbers) -> dict[str, float]:
    """``image_auroc``, ``image_ap`` and ``image_f1`` of one score for each photograph, from one sort."""
    ranking = rank(scores, labels)
    return {
        "image_auroc": ranking.auroc(),
        "image_ap": ranking.average_precision(),
        "image_f1": ranking.f1_max(),
    }


def roc_curve(scores: Numbers, labels: Numbers) -> tuple[Floats, Floats]:
    """(false positive rate, true positive rate), both (T + 1,), from (0, 0) to (1, 1); empty where undefined."""
    ranking = rank(scores, labels)
    if not ranking.defined:
        return np.empty(0), np.empty(0)
    alarms = np.concatenate([[0], ranking.alarms]) / ranking.negatives
    return alarms, np.concatenate([[0], ranking.hits]) / ranking.positives


def precision_recall_curve(scores: Numbers, labels: Numbers) -> tuple[Floats, Floats]:
    """(recall, precision), both (T,), recall ascending; draw it as steps. Empty where undefined."""
    ranking = rank(scores, labels)
    if not ranking.defined:
        return np.empty(0), np.empty(0)
    return ranking.hits / ranking.positives, ranking.hits / (ranking.hits + ranking.alarms)


def distinct_scores(values: Numbers) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """(distinct values ascending, how often each occurs); NaN-free input."""
    ordered = np.sort(values)
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, ordered.size), bool), ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.diff(starts, append=ordered.size)


def positions(distinct: Numbers, values: Numbers) -> npt.NDArray[np.int64]:
    """Where each of ``values`` stands in ``distinct`` (all of them are in it)."""
    return np.searchsorted(distinct, values)


def from_the_top(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Cumulative counts, highest threshold first."""
    return np.cumsum(counts[::-1])


def _flat(scores: Numbers, labels: Numbers) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.shape != labels.shape:
        raise ValueError(f"scores have shape {scores.shape} but labels {labels.shape}; they must be equal")
    values, positive = scores.reshape(-1), labels.reshape(-1) != 0
    if values.dtype == np.float16:
        values = values.astype(np.float32)  # sorts ten times faster
    if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
        return values[:0], positive[:0]
    return values, positive
