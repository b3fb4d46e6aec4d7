"""Arrays → numbers: how well a detector's scores and maps agree with the truth (card 005 section A, definitions exact).

    generation.py how near generated pictures are to real ones (KID, FID), and how varied (card 005 section B)
    ranking.py    AUROC, average precision, F1-max, ROC and PR curves; for photographs or for pooled pixels
    intervals.py  how far a gain between two detectors could move with other photographs
    regions.py    per-region metrics of maps (AUPRO, IAP, IAP90), all pixel metrics at once, a photograph's score

No files, no torch. All results are float64. A metric that the data does not define (one class only, no scores at all,
a NaN among the scores) is ``nan``; it is never an exception and never a made-up 0 or 1.
"""

from farm.metrics.generation import cluster_diversity, fid, inception_score_style, kid, kid_subsets
from farm.metrics.intervals import gain_interval
from farm.metrics.ranking import (
    Ranking,
    auroc,
    average_precision,
    f1_max,
    image_metrics,
    precision_recall_curve,
    rank,
    roc_curve,
)
from farm.metrics.regions import aupro, iap, image_score, pixel_metrics

__all__ = [
    "Ranking",
    "aupro",
    "auroc",
    "average_precision",
    "cluster_diversity",
    "f1_max",
    "fid",
    "gain_interval",
    "iap",
    "image_metrics",
    "image_score",
    "inception_score_style",
    "kid",
    "kid_subsets",
    "pixel_metrics",
    "precision_recall_curve",
    "rank",
    "roc_curve",
]
