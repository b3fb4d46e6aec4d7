"""Arrays → numbers: how well a detector's scores and maps agree with the truth (card 005 section A, definitions exact).

    curves.py        the formulas over counts of hits and alarms, along the last axis
    ranking.py       hits and alarms at every distinct score of a positive, by one sort
    images.py        photographs by one score each: AUROC, AP, F1-max, what a line signs off on, ROC and PR curves
    regions.py       what each defect pixel adds to PRO or sPRO
    pixels.py        maps one at a time: pixel AUROC, AP, F1-max, AUPRO, AUsPRO, IAP, IAP90, exact, in bounded memory
    intervals.py     how far a metric, or a gain between two detectors, could move with other photographs
    group_counts.py  the same for pixel metrics
    classes.py       defect types and argmax masks against the true ones
    generation.py    how near generated pictures are to real ones (KID, FID), and how varied (card 005 section B)
    alignment.py     how well a generated defect fills its mask

No files, no torch. All results are float64. A metric that the data does not define (one class only, no scores at all,
a NaN among the scores) is ``nan``; it is never an exception and never a made-up 0 or 1.
"""

from farm.metrics.alignment import alignment, mask_iou
from farm.metrics.classes import accuracy, macro_accuracy, segmentation_metrics
from farm.metrics.generation import cluster_diversity, fid, inception_score_style, kid, kid_subsets
from farm.metrics.group_counts import pixel_draws, pixel_gain_intervals, pixel_intervals
from farm.metrics.images import (
    auroc,
    average_precision,
    f1_max,
    far_at_full_recall,
    image_metrics,
    image_score,
    precision_recall_curve,
    recall_at_far,
    roc_curve,
    top_score,
)
from farm.metrics.intervals import gain_interval, metric_draws, metric_interval, middle
from farm.metrics.pixels import SPRO_LIMITS, PixelCounts, PixelScores, aupro, auspro, iap, pixel_metrics
from farm.metrics.ranking import Ranking, rank
from farm.metrics.regions import saturation_px

__all__ = [
    "SPRO_LIMITS",
    "PixelCounts",
    "PixelScores",
    "Ranking",
    "accuracy",
    "alignment",
    "aupro",
    "auroc",
    "auspro",
    "average_precision",
    "cluster_diversity",
    "f1_max",
    "far_at_full_recall",
    "fid",
    "gain_interval",
    "iap",
    "image_metrics",
    "image_score",
    "inception_score_style",
    "kid",
    "kid_subsets",
    "macro_accuracy",
    "mask_iou",
    "metric_draws",
    "metric_interval",
    "middle",
    "pixel_draws",
    "pixel_gain_intervals",
    "pixel_intervals",
    "pixel_metrics",
    "precision_recall_curve",
    "rank",
    "recall_at_far",
    "roc_curve",
    "saturation_px",
    "segmentation_metrics",
    "top_score",
]
