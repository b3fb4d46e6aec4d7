"""How near generated pictures are to real ones, and how varied: metrics over features and distances (card 005 B).

Features are (N, D) arrays of any network; the caller names it, since none of these numbers compares across networks.

    KID                  Binkowski et al. 2018, arXiv 1801.01401, section 4: unbiased MMD^2, polynomial kernel
    FID                  Heusel et al. 2017, arXiv 1706.08500, Eq. (6); biased for few samples
    cluster diversity    Ojha et al. 2021, arXiv 2104.06820, section 4.2 (IC-LPIPS), over any distance
    inception score      Salimans et al. 2016, arXiv 1606.03498, section 4, over any classifier

Too few rows or a NaN give ``nan``.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from farm.ids import generator
from farm.metrics.curves import Floats, Numbers

Indices = npt.NDArray[np.int64]
Distance = Callable[[Indices, Indices], Numbers]  # (P,) and (P,) rows -> (P,) distances


def kid(x: Numbers, y: Numbers) -> float:
    """Unbiased MMD^2 of (N, D) and (M, D) features with k(a, b) = (a.b / D + 1)^3; below 0 by chance where equal.

    Needs 2 rows a side. Raises ``ValueError`` where the shapes do not fit.
    """
    x, y = _features(x, y)
    if min(len(x), len(y)) < 2:
        return math.nan
    return _within(x) + _within(y) - 2 * float(_kernel(x, y).mean())


def kid_subsets(x: Numbers, y: Numbers, subsets: int = 100, size: int = 100, seed: int = 0) -> tuple[float, float]:
    """(mean, standard deviation) of ``kid`` over random subsets of ``size`` rows a side, or of all if there are fewer.

    Rows are drawn without replacement within a subset. With no row left out the deviation says nothing and is 0.
    The defaults are clean-fid's protocol, against held-out photographs. Papers that follow MAGIC's script report 1000
    times the mean of 10 subsets of 10 against all real photographs of the defect: ten times as noisy, and those that
    the generator learned from are among them, so it is for comparison alone.
    """
    x, y = _features(x, y)
    size = min(size, len(x), len(y))
    random = generator(seed, "kid subsets")
    found = [
        kid(x[random.choice(len(x), size, replace=False)], y[random.choice(len(y), size, replace=False)])
        for _ in range(subsets)
    ]
    return float(np.mean(found)), float(np.std(found))


def fid(x: Numbers, y: Numbers) -> float:
    """|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the means and covariances of (N, D) and (M, D) features.

    With S1 = A^T A and S2 = B^T B, the eigenvalues of S1 S2 are the squared singular values of A B^T: no square root
    of a singular matrix is taken, so that fewer rows than dimensions are no trouble. Needs 2 rows a side.
    """
    x, y = _features(x, y)
    if min(len(x), len(y)) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return math.nan
    a, b = _factor(x), _factor(y)
    shared = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    apart = float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())
    return max(0.0, apart + float((a**2).sum() + (b**2).sum()) - 2 * shared)


def cluster_diversity(
    to_references: Numbers, distance: Distance, most: int = 50, seed: int = 0, lone_is_zero: bool = False
) -> float:
    """Mean distance of generated pictures that have one nearest reference, averaged over references (IC-LPIPS).

    ``to_references`` (N, R) are distances to real pictures; ``distance`` those of pairs of generated rows. At most
    ``most`` random members of a cluster count; a cluster of one has no pair and is left out. ``nan`` without a pair.
    DFMGAN's older variant takes 200 members and counts a cluster of one as 0 (``lone_is_zero``). Report KID beside it:
    a spoilt background raises diversity.
    """
    distances = np.asarray(to_references, np.float64)
    nearest = distances.argmin(axis=1) if distances.size else np.empty(0, np.int64)
    means = []
    for reference in np.unique(nearest):
        members = np.flatnonzero(nearest == reference)
        if len(members) > most:
            members = generator(seed, f"cluster {reference}").choice(members, most, replace=False)
        first, second = np.triu_indices(len(members), k=1)
        if first.size:
            means.append(float(np.mean(distance(members[first], members[second]))))
        elif lone_is_zero:
            means.append(0.0)
    return float(np.mean(means)) if means else math.nan


def inception_score_style(probabilities: Numbers, splits: int = 10) -> tuple[float, float]:
    """(mean, standard deviation) over ``splits`` equal parts of exp(E KL(p(y|x) || p(y))); (N, C) rows that sum to 1.

    Between 1 and C; what is real it does not ask. It grows with N, so that only equal N compare (card 005 B: 1,000 for
    each defect, then means over defects and categories). Parts follow the order of the rows; N below ``splits`` gives
    nan.
    """
    p = np.asarray(probabilities, np.float64)
    if len(p) < splits:
        return math.nan, math.nan
    scores = [_score(part) for part in np.array_split(p, splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(p: Floats) -> float:
    marginal = p.mean(axis=0)
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.exp((p * np.log(ratio)).sum(axis=1).mean()))


def _features(x: Numbers, y: Numbers) -> tuple[Floats, Floats]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features have shapes {x.shape} and {y.shape}; they must be (N, D) and (M, D)")
    return x, y


def _kernel(x: Floats, y: Floats) -> Floats:
    values: Floats = (x @ y.T / x.shape[1] + 1) ** 3
    return values


def _within(x: Floats) -> float:
    """Mean of k over ordered pairs of different rows."""
    values = _kernel(x, x)
    return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))


def _factor(x: Floats) -> Floats:
    """A of at most D rows with A^T A = the covariance of ``x``."""
    centred = (x - x.mean(axis=0)) / math.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred).R)
