"""Photographs by one score each: how well the scores rank them, and how a map becomes such a score (card 005 A)."""

import numpy as np
from scipy import ndimage

from farm.metrics.curves import Floats, Numbers, precision
from farm.metrics.ranking import rank

WINDOW_PX = 21  # of ``image_score``
TOP_PX = 100  # of ``top_score``
LINE_RATE = 0.01  # of ``image_recall_at_far_1pct``


def auroc(scores: Numbers, labels: Numbers) -> float:
    """Area under the ROC curve, ties counted as a half; ``nan`` unless both classes are there."""
    return rank(scores, labels).auroc()


def average_precision(scores: Numbers, labels: Numbers) -> float:
    """Step-wise average precision; ``nan`` unless both classes are there."""
    return rank(scores, labels).average_precision()


def f1_max(scores: Numbers, labels: Numbers) -> float:
    """The best F1 that any threshold reaches; ``nan`` unless both classes are there."""
    return rank(scores, labels).f1_max()


def far_at_full_recall(scores: Numbers, labels: Numbers) -> float:
    """Share of good photographs refused where no defect may pass (``Ranking.far_at_full_recall``)."""
    return rank(scores, labels).far_at_full_recall()


def recall_at_far(scores: Numbers, labels: Numbers, rate: float = LINE_RATE) -> float:
    """Share of defects found where at most ``rate`` of the good may be refused (``Ranking.recall_at_far``)."""
    return rank(scores, labels).recall_at_far(rate)


def image_metrics(scores: Numbers, labels: Numbers) -> dict[str, float]:
    """All metrics of one score for each photograph, from one sort.

    ``image_auroc``, ``image_ap``, ``image_f1``, and the two that a line signs off on: ``image_far_at_full_recall`` and
    ``image_recall_at_far_1pct``, which with fewer than 100 good photographs allows no false alarm at all.
    """
    ranking = rank(scores, labels)
    return {
        "image_auroc": ranking.auroc(),
        "image_ap": ranking.average_precision(),
        "image_f1": ranking.f1_max(),
        "image_far_at_full_recall": ranking.far_at_full_recall(),
        "image_recall_at_far_1pct": ranking.recall_at_far(LINE_RATE),
    }


def roc_curve(scores: Numbers, labels: Numbers) -> tuple[Floats, Floats]:
    """(false positive rate, true positive rate), its corners from (0, 0) to (1, 1); empty where undefined."""
    ranking = rank(scores, labels)
    if not ranking.defined:
        return np.empty(0), np.empty(0)
    return ranking.over_alarms(ranking.hits / ranking.positives)


def precision_recall_curve(scores: Numbers, labels: Numbers) -> tuple[Floats, Floats]:
    """(recall, precision) at every score of a positive, recall ascending; draw it as steps. Empty where undefined."""
    ranking = rank(scores, labels)
    if not ranking.defined:
        return np.empty(0), np.empty(0)
    return ranking.hits / ranking.positives, precision(ranking.hits, ranking.alarms)


def image_score(maps: Numbers) -> Floats:
    """(..., H, W) maps → (...,) scores: the largest mean over a 21x21 window, zeros counted beyond the border.

    Equals ``AvgPool2d(21, stride=1, padding=10, count_include_pad=True)`` and a maximum, the usual score of a
    segmentation detector: a single hot pixel does not make a photograph suspicious, a region does.
    """
    values = np.asarray(maps, dtype=np.float64)
    size = (1,) * (values.ndim - 2) + (WINDOW_PX, WINDOW_PX)
    means: Floats = ndimage.uniform_filter(values, size=size, mode="constant", cval=0.0)
    return np.asarray(means.max(axis=(-2, -1)))


def top_score(maps: Numbers, count: int = TOP_PX) -> Floats:
    """(..., H, W) maps → (...,) scores: the mean of the ``count`` highest pixels (DeSTSeg), or of all if fewer."""
    values = np.asarray(maps, dtype=np.float64)
    flat = values.reshape(*values.shape[:-2], -1)
    first = max(0, flat.shape[-1] - count)
    return np.asarray(np.partition(flat, first, axis=-1)[..., first:].mean(axis=-1))
