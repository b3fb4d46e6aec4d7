"""Metrics of anomaly maps against masks, region by region (card 005 section A), and a photograph's score.

Legend: A is a map, G its mask, N photographs of H x W pixels, K regions C_k of size n_k. A region is an 8-connected
component of one mask; regions are numbered over the whole test set, so that a small one counts as much as a large one.
Good photographs belong in the arrays too: their pixels are where false alarms happen.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from farm.metrics.ranking import Floats, Numbers, distinct_scores, from_the_top, positions, rank

_EIGHT_CONNECTED_IN_A_PLANE = np.zeros((3, 3, 3), dtype=bool)
_EIGHT_CONNECTED_IN_A_PLANE[1] = True
_WINDOW_PX = 21


def aupro(maps: Numbers, masks: Numbers, limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false positive rate of ``limit``, divided by ``limit``.

    ``maps`` and ``masks`` are (N, H, W); non-zero mask pixels are defect. PRO(t) = mean_k |{A >= t} in C_k| / n_k,
    FPR(t) = share of all defect-free pixels with A >= t; exact over all distinct thresholds, trapezoid, with linear
    interpolation at exactly ``limit``. A constant map scores limit / 2. ``nan`` without a region, without a
    defect-free pixel or with a NaN in the maps. Raises ``ValueError`` for other shapes or a limit outside (0, 1].
    """
    if not 0 < limit <= 1:
        raise ValueError(f"limit is {limit}; it must be above 0 and at most 1")
    regions = _Regions.of(maps, masks)
    negatives = regions.values.size - regions.inside.size
    if regions.broken or not regions.count or not negatives:
        return math.nan
    distinct, counts = distinct_scores(regions.values)
    where = positions(distinct, regions.inside)
    hits = np.bincount(where, minlength=distinct.size)
    overlap = np.bincount(where, weights=1 / regions.sizes[regions.owner], minlength=distinct.size)
    fpr = np.concatenate([[0.0], from_the_top(counts - hits) / negatives])
    pro = np.concatenate([[0.0], np.cumsum(overlap[::-1]) / regions.count])
    return min(_area_up_to(fpr, pro, limit) / limit, 1.0)


def iap(maps: Numbers, masks: Numbers, destseg_compat: bool = False) -> tuple[float, float]:
    """(IAP, IAP90): precision of pixels averaged over recall of instances, and at an instance recall of 90 %.

    v_k = value at index floor(n_k / 2) of region k's scores sorted descending: the threshold at which more than half
    of it is found. With v sorted ascending, recall at v_(j) is 1 - j/K and p_j = |G and A >= v_(j)| / |A >= v_(j)|
    over all photographs, made non-decreasing in j. IAP = mean_j p_j; IAP90 = p at the smallest recall >= 0.9.

    ``destseg_compat`` repeats a mistake of the published code (card 005 trap 5b), for comparison with old numbers
    alone: it counts ``A * G >= v``, so that with v <= 0 every defect-free pixel is a hit and an all-zero map scores 1.
    (nan, nan) without a region or with a NaN in the maps. Raises ``ValueError`` where the shapes do not fit.
    """
    regions = _Regions.of(maps, masks)
    if regions.broken or not regions.count:
        return math.nan, math.nan
    thresholds = np.sort(_majority_scores(regions))
    found = regions.inside.size - np.searchsorted(np.sort(regions.inside), thresholds)
    alarms = regions.values.size - np.searchsorted(np.sort(regions.values), thresholds)
    if destseg_compat:
        found = found + np.where(thresholds <= 0, regions.values.size - regions.inside.size, 0)
    precision = np.maximum.accumulate(found / alarms)
    return float(precision.mean()), float(precision[regions.count // 10])


def pixel_metrics(maps: Numbers, masks: Numbers, limit: float = 0.3) -> dict[str, float]:
    """``pixel_auroc``, ``pixel_ap`` and ``pixel_f1`` of all pixels pooled, and ``aupro``; both inputs (N, H, W)."""
    ranking = rank(maps, masks)
    return {
        "pixel_auroc": ranking.auroc(),
        "pixel_ap": ranking.average_precision(),
        "pixel_f1": ranking.f1_max(),
        "aupro": aupro(maps, masks, limit),
    }


def image_score(maps: Numbers) -> Floats:
    """(..., H, W) maps → (...,) scores: the largest mean over a 21x21 window, zeros counted beyond the border.

    Equals ``AvgPool2d(21, stride=1, padding=10, count_include_pad=True)`` and a maximum, the usual score of a
    segmentation detector: a single hot pixel does not make a photograph suspicious, a region does.
    """
    values = np.asarray(maps, dtype=np.float64)
    size = (1,) * (values.ndim - 2) + (_WINDOW_PX, _WINDOW_PX)
    means: Floats = ndimage.uniform_filter(values, size=size, mode="constant", cval=0.0)
    return np.asarray(means.max(axis=(-2, -1)))


@dataclass(frozen=True)
class _Regions:
    """All scores, and those inside the K regions with the region that owns each."""

    values: Numbers  # all scores, flat
    inside: Numbers  # scores of defect pixels
    owner: npt.NDArray[np.int64]  # region of each of them, 0 ... K - 1
    sizes: npt.NDArray[np.int64]  # (K,) pixels of each region
    broken: bool  # a NaN among the scores

    @property
    def count(self) -> int:
        return int(self.sizes.size)

    @classmethod
    def of(cls, maps: Numbers, masks: Numbers) -> "_Regions":
        maps, masks = np.asarray(maps), np.asarray(masks)
        if maps.shape != masks.shape or maps.ndim != 3:
            raise ValueError(f"maps have shape {maps.shape} and masks {masks.shape}; both must be (N, H, W)")
        if maps.dtype == np.float16:
            maps = maps.astype(np.float32)
        numbered, count = ndimage.label(masks != 0, structure=_EIGHT_CONNECTED_IN_A_PLANE)
        defect = numbered > 0
        owner = numbered[defect].astype(np.int64) - 1
        broken = bool(np.issubdtype(maps.dtype, np.floating) and np.isnan(maps).any())
        return cls(maps.reshape(-1), maps[defect], owner, np.bincount(owner, minlength=count), broken)


def _majority_scores(regions: _Regions) -> Numbers:
    """(K,) v_k: the highest threshold that finds more than half of region k."""
    order = np.lexsort((regions.inside, regions.owner))  # by region, scores ascending inside
    ends = np.cumsum(regions.sizes)
    return regions.inside[order[ends - 1 - regions.sizes // 2]]


def _area_up_to(fpr: Floats, pro: Floats, limit: float) -> float:
    """Trapezoid under ``pro`` from 0 to ``limit``; ``fpr`` is ascending and ends at 1."""
    end = int(np.searchsorted(fpr, limit, side="right"))
    area = float(np.trapezoid(pro[:end], fpr[:end]))
    if end == fpr.size:
        return area
    share = (limit - fpr[end - 1]) / (fpr[end] - fpr[end - 1])
    height = pro[end - 1] + share * (pro[end] - pro[end - 1])
    return area + float((limit - fpr[end - 1]) * (pro[end - 1] + height) / 2)
