"""Intervals of pixel metrics by bootstrap over groups of photographs, at the cost of a matrix product.

A resampled test set takes each group so many times, and counts of hits and alarms are sums over groups: with the counts
of every group at common thresholds (G, C) at hand, a thousand test sets are one product (1000, G) (G, C) a count. The
thresholds are every distinct score of a defect pixel where these are at most ``EDGES``, and then each draw is exact.
Else they are quantiles of defect pixels, of the same weighed by region, and of defect-free pixels, ``EDGES`` of each;
scores between two thresholds count as tied. That moves a draw by less than 1e-4 (measured in tests against draws made
anew, and less where a metric is smooth), and the interval is moved by the error at the test set itself, which is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.metrics import curves
from farm.metrics.curves import Floats, Numbers
from farm.metrics.intervals import Indices, Interval, drawn_groups, middle
from farm.metrics.pixels import PhotoPixels, PixelScores

EDGES = 2048
SAMPLE = 2**21  # defect-free pixels that their quantiles are taken from
AT_ONCE = 32  # test sets resampled together


def pixel_intervals(scores: PixelScores, limit: float = 0.3, draws: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """The middle 95 % of each of ``PixelCounts.metrics`` over ``draws`` resampled test sets; as ``metric_interval``."""
    return {name: middle(values, draws) for name, values in pixel_draws(scores, limit, draws, seed).items()}


def pixel_draws(scores: PixelScores, limit: float = 0.3, draws: int = 1000, seed: int = 0) -> dict[str, Floats]:
    """Each of ``PixelCounts.metrics`` on each resampled test set, (draws,).

    Detectors that saw the same groups in the same order are resampled alike, so their draws may be subtracted.
    """
    exact, drawn = scores.counts().metrics(limit), _drawn(scores, limit, draws, seed)
    return {name: drawn[name][1:] - drawn[name][0] + value for name, value in exact.items()}


def pixel_gain_intervals(
    before: PixelScores, after: PixelScores, limit: float = 0.3, draws: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """The middle 95 % of the gain in each metric, both detectors on the same resampled test sets.

    Raises ``ValueError`` unless both saw the same groups in the same order.
    """
    if [photo.group for photo in before.photos] != [photo.group for photo in after.photos]:
        raise ValueError(
            f"before has {len(before.photos)} photographs and after {len(after.photos)}, or their groups differ; add "
            "the same photographs in the same order to both"
        )
    old, new = (pixel_draws(scores, limit, draws, seed) for scores in (before, after))
    return {name: middle(new[name] - old[name], draws) for name in old}


@dataclass(frozen=True)
class GroupCounts:
    """Counts of G groups at C thresholds that are common to all, highest first; the last one takes all pixels."""

    hits: Floats  # (G, C) defect pixels at or above each threshold
    alarms: Floats  # (G, C) defect-free pixels
    overlap: Floats  # (G, C) weights of the defect pixels, summed: PRO times the number of regions
    regions: Floats  # (G,)
    halves: Indices  # (K,) the threshold that finds half of each region, those with the lowest score first
    owner: Indices  # (K,) group of each region

    @classmethod
    def of(cls, scores: PixelScores) -> "GroupCounts":
        """The counts of each group of ``scores``, in the order in which groups were first seen."""
        names = dict.fromkeys(photo.group for photo in scores.photos)
        groups = {name: group for group, name in enumerate(names)}
        edges = _edges(scores.photos)
        shape = (len(groups), 2 * edges.size + 1)
        hits, alarms, overlap = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for photo in scores.photos:
            group = groups[photo.group]
            alarms[group] += _counts(photo.good, edges)
            hits[group] += _counts(photo.inside, edges)
            overlap[group] += _counts(photo.inside, edges, photo.weights)
        owner = np.repeat([groups[photo.group] for photo in scores.photos], [p.halves.size for p in scores.photos])
        halves = np.concatenate([photo.halves for photo in scores.photos])
        order = np.argsort(halves, kind="stable")
        below = edges.size - np.searchsorted(edges, halves[order], side="right")  # edges above v_k
        regions = np.bincount(owner, minlength=len(groups)).astype(np.float64)
        return cls(hits, alarms, overlap, regions, 2 * below + 1, owner[order])

    def metrics(self, times: Floats, limit: float) -> dict[str, Floats]:
        """``PixelCounts.metrics`` of M test sets that take each group so many ``times`` (M, G); each is (M,)."""
        hits, alarms = times @ self.hits, times @ self.alarms
        positives, negatives = hits[:, -1], alarms[:, -1]
        tied = np.diff(alarms, prepend=0)
        fpr = np.insert(alarms / np.maximum(negatives, 1)[:, None], 0, 0, axis=1)
        pro = np.insert(times @ self.overlap / np.maximum(times @ self.regions, 1)[:, None], 0, 0, axis=1)
        iap, iap90 = self._iap(times, curves.precision(hits[:, self.halves], alarms[:, self.halves]))
        found = {
            "pixel_auroc": curves.roc_area(hits, alarms, tied, negatives),
            "pixel_ap": curves.precision_area(hits, alarms),
            "pixel_f1": curves.best_f1(hits, alarms),
            "aupro": np.minimum(curves.area_up_to(fpr, pro, limit) / limit, 1),
        }
        both = (positives > 0) & (negatives > 0)
        return {name: np.where(both, value, np.nan) for name, value in found.items()} | {"iap": iap, "iap90": iap90}

    def _iap(self, times: Floats, precision: Floats) -> tuple[Floats, Floats]:
        """IAP and IAP90 (M,) of the regions in each test set, from the precision (M, K) at each one's threshold."""
        drawn = times[:, self.owner]
        total = times @ self.regions
        if not self.owner.size:
            return np.full(len(times), np.nan), np.full(len(times), np.nan)
        best = np.maximum.accumulate(np.where(drawn > 0, precision, 0), axis=1)
        iap = (drawn * best).sum(axis=1) / np.maximum(total, 1)
        place = (np.cumsum(drawn, axis=1) <= (total // 10)[:, None]).sum(axis=1)
        iap90 = np.take_along_axis(best, np.minimum(place, self.owner.size - 1)[:, None], axis=1)[:, 0]
        return np.where(total > 0, iap, np.nan), np.where(total > 0, iap90, np.nan)


def _drawn(scores: PixelScores, limit: float, draws: int, seed: int) -> dict[str, Floats]:
    """(1 + draws,) of each metric: at the test set itself, then at each resampled one; nan where a map was broken."""
    if scores.broken or not scores.photos:
        return {name: np.full(1 + draws, np.nan) for name in scores.counts().metrics(limit)}
    counts = GroupCounts.of(scores)
    groups = len(counts.regions)
    chosen = drawn_groups(groups, draws, seed, "pixel interval")
    times = np.array([np.ones(groups), *(np.bincount(drawn, minlength=groups) for drawn in chosen)], np.float64)
    parts = [counts.metrics(times[start : start + AT_ONCE], limit) for start in range(0, len(times), AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _edges(photos: Sequence[PhotoPixels]) -> Numbers:
    """Thresholds ascending: all distinct scores of defect pixels where these are few, else quantiles."""
    inside = np.concatenate([photo.inside for photo in photos])
    order = np.argsort(inside)
    ranked = inside[order]
    distinct = np.unique(ranked)
    if distinct.size <= EDGES:
        return distinct
    weights = np.cumsum(np.concatenate([photo.weights for photo in photos])[order])
    by_region = np.searchsorted(weights, weights[-1] * np.linspace(0, 1, EDGES))
    step = max(1, sum(photo.good.size for photo in photos) // SAMPLE)
    good = np.sort(np.concatenate([photo.good[::step] for photo in photos]))
    halves = np.sort(np.concatenate([photo.halves for photo in photos]))
    picked = [_spaced(ranked), ranked[np.minimum(by_region, ranked.size - 1)], _spaced(good), _spaced(halves)]
    return np.unique(np.concatenate(picked))


def _spaced(ranked: Numbers) -> Numbers:
    """At most ``EDGES`` of sorted values, evenly spaced by rank."""
    return ranked[np.linspace(0, ranked.size - 1, min(EDGES, ranked.size)).astype(np.int64)]


def _counts(values: Numbers, edges: Numbers, weights: Floats | None = None) -> Floats:
    """(2 E + 1,) how many values (or how much weight) are > and >= each edge, from the highest down, and all."""
    order: npt.NDArray[np.int64] | None = None if weights is None else np.argsort(values)
    ranked = np.sort(values) if order is None else values[order]
    below = np.stack([np.searchsorted(ranked, edges), np.searchsorted(ranked, edges, side="right")], axis=1)
    places = np.append(below.reshape(-1)[::-1], 0)
    if weights is None:
        return (ranked.size - places).astype(np.float64)
    total = np.append(0.0, np.cumsum(weights[order]))
    return np.asarray(total[-1] - total[places])
