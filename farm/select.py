"""A few images that stand for many: a covering subset of unit vectors, and how many each group may give."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from farm.index import cosine_pairs

Ranks = npt.NDArray[np.int64]


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many each group gives so that ``count`` are taken as evenly as the sizes allow; earlier groups get the rest.

    Small groups give all they have; what they lack is shared out over the others.
    """
    given = [0] * len(sizes)
    left = min(count, sum(sizes))
    while left:
        open_groups = [number for number, size in enumerate(sizes) if given[number] < size]
        each, over = divmod(left, len(open_groups))
        for place, number in enumerate(open_groups):
            more = min(sizes[number] - given[number], each + (place < over))
            given[number] += more
            left -= more
    return given


def spread(vectors: npt.NDArray[np.float32], count: int) -> Ranks:
    """``count`` of (N, D) unit vectors such that every vector is near to a chosen one: k-center, greedily.

    Gonzalez (1985): begin with the first, then always take the one that is farthest from all chosen, ties by number.
    The largest angle-distance (Euclidean, on the sphere) of a vector to its nearest chosen one is at most twice the
    smallest that any ``count`` vectors can reach. Cosines are summed in float64, so the choice is the same everywhere.
    """
    if count >= len(vectors):
        return np.arange(len(vectors), dtype=np.int64)
    chosen: list[int] = []
    nearest = np.full(len(vectors), -np.inf)
    following = 0
    for _ in range(count):
        chosen.append(following)
        nearest = np.maximum(nearest, cosine_pairs(vectors, vectors[following]))
        nearest[following] = np.inf  # never again
        following = int(np.argmin(nearest))
    return np.asarray(sorted(chosen), np.int64)
