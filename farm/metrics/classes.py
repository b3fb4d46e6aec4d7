"""Predicted classes against true ones: defect types of photographs, and pixels of a segmenter (card 005 A).

Types are those of one category; a number over categories is the mean of theirs.
"""

import math

import numpy as np

from farm.metrics.curves import Numbers


def accuracy(predicted: Numbers, truth: Numbers) -> float:
    """The share of photographs whose type (a number or a name; both (N,)) is right; ``nan`` without one.

    Raises ``ValueError`` where the shapes differ.
    """
    predicted, truth = _paired(predicted, truth)
    right = predicted == truth
    return float(right.mean()) if right.size else math.nan


def macro_accuracy(predicted: Numbers, truth: Numbers) -> float:
    """The mean over the types in ``truth`` of the share of each that is right: rare types count as much as common."""
    predicted, truth = _paired(predicted, truth)
    _, member, counts = np.unique(truth, return_inverse=True, return_counts=True)
    right = np.bincount(member, weights=predicted == truth)
    return float((right / counts).mean()) if counts.size else math.nan


def segmentation_metrics(predicted: Numbers, masks: Numbers) -> dict[str, float]:
    """``miou`` and ``macc`` over {background, defect} of pooled pixels, as MMSegmentation counts (FAST's numbers).

    Both inputs have the same shape, non-zero = defect. They hang on one threshold, so they compare with no
    threshold-free metric. A class that neither has is left out of ``miou``, one without a true pixel out of ``macc``.
    """
    predicted, masks = _paired(predicted, masks)
    found, real = predicted != 0, masks != 0
    hits = [float((~found & ~real).sum()), float((found & real).sum())]
    true = [float((~real).sum()), float(real.sum())]
    either = [float((~found | ~real).sum()), float((found | real).sum())]
    return {"miou": _mean_ratio(hits, either), "macc": _mean_ratio(hits, true)}


def _mean_ratio(above: list[float], below: list[float]) -> float:
    shares = [one / other for one, other in zip(above, below, strict=True) if other]
    return sum(shares) / len(shares) if shares else math.nan


def _paired(predicted: Numbers, truth: Numbers) -> tuple[Numbers, Numbers]:
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted has shape {predicted.shape} but truth {truth.shape}; they must be equal")
    return predicted, truth
