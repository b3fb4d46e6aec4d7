"""Metrics of anomaly maps against masks (card 005 section A), one photograph at a time and yet exact.

Legend: A is a map, G its mask, K regions C_k of size n_k, numbered over the whole test set. Good photographs belong in
the test set too: their pixels are where false alarms happen.

Held for the end are 4 bytes for each defect-free pixel (its score as float32; 8 for float64 maps) and about 12 for each
defect pixel; the end itself takes some 200 bytes for each distinct score of a defect pixel and one block of ``BLOCK``
scores. 1,000 maps of 512 x 512 stay below 2 GB (``benchmarks/metrics.py``).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from farm.metrics import curves
from farm.metrics.curves import Floats, Numbers
from farm.metrics.ranking import Ranking, broken, count, sortable
from farm.metrics.regions import Regions, channel_regions, mask_regions

BLOCK = 2**25  # scores sorted at once
SPRO_LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)  # of MVTec LOCO's script; papers quote 0.05


@dataclass(frozen=True)
class PixelCounts:
    """What all pixel metrics follow from."""

    ranking: Ranking
    overlap: Floats  # (T,) PRO at each threshold of the ranking; sPRO where regions saturate below their area
    halves: Numbers  # (K,) ascending: v_k, the highest threshold that finds more than half of region k

    def aupro(self, limit: float = 0.3) -> float:
        """Area under PRO (or sPRO) over the false positive rate, up to a rate of ``limit`` and divided by it.

        FPR(t) = share of all defect-free pixels with A >= t. Exact over all distinct thresholds, trapezoid, linear
        interpolation at exactly ``limit``. A constant map scores limit / 2. Raises ``ValueError`` outside (0, 1].
        """
        if not 0 < limit <= 1:
            raise ValueError(f"limit is {limit}; it must be above 0 and at most 1")
        if not self.ranking.defined:
            return math.nan
        fpr, pro = self.ranking.over_alarms(self.overlap)
        return min(float(curves.area_up_to(fpr, pro, limit)) / limit, 1.0)

    def iap(self, destseg_compat: bool = False) -> tuple[float, float]:
        """(IAP, IAP90): precision of pixels averaged over recall of instances, and at an instance recall of 90 %.

        v_k = value at index floor(n_k / 2) of region k's scores sorted descending. With v sorted ascending, recall at
        v_(j) is 1 - j/K and p_j = |G and A >= v_(j)| / |A >= v_(j)| over all photographs, made non-decreasing in j.
        IAP = mean_j p_j; IAP90 = p at the smallest recall >= 0.9.

        ``destseg_compat`` repeats a mistake of the published code (card 005 trap 5b), for comparison with old numbers
        alone: it counts ``A * G >= v``, so that with v <= 0 every defect-free pixel is a hit.
        """
        if not self.halves.size:
            return math.nan, math.nan
        ascending = self.ranking.thresholds[::-1]
        place = ascending.size - 1 - np.searchsorted(ascending, self.halves)
        hits, alarms = self.ranking.hits[place], self.ranking.alarms[place]
        mistaken = np.where(self.halves <= 0, self.ranking.negatives, 0) if destseg_compat else 0
        best = np.maximum.accumulate((hits + mistaken) / (hits + alarms))
        return float(best.mean()), float(best[best.size // 10])

    def metrics(self, limit: float = 0.3) -> dict[str, float]:
        """``pixel_auroc``, ``pixel_ap`` and ``pixel_f1`` of all pixels pooled, ``aupro``, ``iap`` and ``iap90``."""
        iap, iap90 = self.iap()
        return {
            "pixel_auroc": self.ranking.auroc(),
            "pixel_ap": self.ranking.average_precision(),
            "pixel_f1": self.ranking.f1_max(),
            "aupro": self.aupro(limit),
            "iap": iap,
            "iap90": iap90,
        }


@dataclass(frozen=True)
class PhotoPixels:
    """The scores of one photograph."""

    group: str
    good: Numbers  # (N,) scores of defect-free pixels, in any order
    inside: Numbers  # (P,) scores of defect pixels
    weights: Floats  # (P,) what each adds to PRO, summed over regions
    halves: Numbers  # (R,) v_k of its regions


class PixelScores:
    """Maps of test photographs, given one at a time; ``counts()`` gives the metrics of all of them.

    Maps may differ in size and need not stay alive. A NaN in any map makes every metric ``nan``.
    """

    def __init__(self) -> None:
        self.photos: list[PhotoPixels] = []
        self.broken = False

    def add(self, scores: Numbers, mask: Numbers | None = None, group: str | None = None) -> None:
        """A map (H, W) and its mask (H, W), non-zero where defective; None where nothing is.

        Regions are the mask's 8-connected components. Photographs of one thing share a ``group`` (None = a group of
        its own), which only intervals ask for. Raises ``ValueError`` where the shapes differ.
        """
        scores = np.asarray(scores)
        mask = np.zeros(scores.shape, bool) if mask is None else np.asarray(mask)
        if scores.ndim != 2 or mask.shape != scores.shape:
            raise ValueError(f"the map has shape {scores.shape} and its mask {mask.shape}; both must be (H, W)")
        scores = self._checked(scores)
        self._take(scores, mask_regions(scores, mask), group)

    def add_channels(
        self, scores: Numbers, channels: Numbers, saturations: Sequence[float], group: str | None = None
    ) -> None:
        """A map (H, W) whose regions are ``channels`` (C, H, W) that saturate at ``saturations`` (C,) pixels each.

        For MVTec LOCO: one channel a mask file, ``saturation_px`` by its entry, maps and masks at the photograph's own
        resolution. Raises ``ValueError`` as ``channel_regions``, and where the shapes differ.
        """
        scores, channels = np.asarray(scores), np.asarray(channels)
        if scores.ndim != 2 or channels.shape != (len(saturations), *scores.shape):
            raise ValueError(
                f"the map has shape {scores.shape}, its channels {channels.shape} and {len(saturations)} saturations; "
                "they must be (H, W), (C, H, W) and C"
            )
        scores = self._checked(scores)
        self._take(scores, channel_regions(scores, channels, saturations), group)

    def counts(self) -> PixelCounts:
        """The counts over all photographs so far; more may be added afterwards."""
        photos = [] if self.broken else self.photos
        kind = np.result_type(*{photo.good.dtype for photo in photos}) if photos else np.dtype(np.float32)
        inside = _joined([photo.inside for photo in photos], kind)
        weights = _joined([photo.weights for photo in photos], np.dtype(np.float64))
        ranking = count(inside, _blocks([photo.good for photo in photos], kind))
        place = np.searchsorted(ranking.thresholds[::-1], inside)
        added = np.bincount(place, weights=weights, minlength=ranking.thresholds.size)
        halves = np.sort(_joined([photo.halves for photo in photos], kind))
        return PixelCounts(ranking, np.cumsum(added[::-1]) / max(1, halves.size), halves)

    def _checked(self, scores: Numbers) -> Numbers:
        self.broken = self.broken or broken(scores)
        return sortable(scores)

    def _take(self, scores: Numbers, regions: Regions, group: str | None) -> None:
        good, inside = scores[~regions.defect], scores[regions.defect]
        name = f"photograph {len(self.photos)}" if group is None else group
        self.photos.append(PhotoPixels(name, good, inside, regions.weights, regions.halves))


def aupro(maps: Numbers, masks: Numbers, limit: float = 0.3) -> float:
    """``PixelCounts.aupro`` of (N, H, W) maps and masks; ``nan`` without a region or without a defect-free pixel."""
    return _counts(maps, masks).aupro(limit)


def iap(maps: Numbers, masks: Numbers, destseg_compat: bool = False) -> tuple[float, float]:
    """``PixelCounts.iap`` of (N, H, W) maps and masks; (nan, nan) without a region."""
    return _counts(maps, masks).iap(destseg_compat)


def pixel_metrics(maps: Numbers, masks: Numbers, limit: float = 0.3) -> dict[str, float]:
    """``PixelCounts.metrics`` of (N, H, W) maps and masks."""
    return _counts(maps, masks).metrics(limit)


def auspro(
    maps: Sequence[Numbers],
    channels: Sequence[Numbers],
    saturations: Sequence[Sequence[float]],
    limits: Sequence[float] = SPRO_LIMITS,
) -> tuple[float, ...]:
    """AUsPRO of MVTec LOCO up to each of ``limits``, divided by it; photographs as ``PixelScores.add_channels`` takes.

    A good photograph has no channel: (0, H, W) and no saturation.
    """
    scores = PixelScores()
    for one, masks, pixels in zip(maps, channels, saturations, strict=True):
        scores.add_channels(one, masks, pixels)
    counts = scores.counts()
    return tuple(counts.aupro(limit) for limit in limits)


def _counts(maps: Numbers, masks: Numbers) -> PixelCounts:
    maps, masks = np.asarray(maps), np.asarray(masks)
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps have shape {maps.shape} and masks {masks.shape}; both must be (N, H, W)")
    scores = PixelScores()
    for one, mask in zip(maps, masks, strict=True):
        scores.add(one, mask)
    return scores.counts()


def _joined(parts: Sequence[Numbers], kind: np.dtype) -> Numbers:
    return np.concatenate(parts, dtype=kind) if parts else np.empty(0, kind)


def _blocks(parts: Sequence[Numbers], kind: np.dtype) -> Iterator[Numbers]:
    """Copies of the parts, joined into blocks of about ``BLOCK`` scores."""
    held, size = list[Numbers](), 0
    for part in parts:
        held.append(part)
        size += part.size
        if size >= BLOCK:
            yield _joined(held, kind)
            held, size = [], 0
    if held:
        yield _joined(held, kind)
