"""Who stays: down the ranks, each row is refused by the best kept row that is too near to it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.dedup.blocks import Laid
from farm.dedup.buckets import NOBODY, Buckets, Flags
from farm.dedup.cells import SAMPLE_PER_CELL, Cells, Looks, Ranks, cells_for
from farm.dedup.hints import hints

UNDECIDED, KEPT, REFUSED = 0, 1, 2

Search = Callable[[Ranks, Flags], Ranks]  # (asking ranks, rows that are gone) → the first too near, or NOBODY


def ranks(score: npt.NDArray[Any], row: npt.NDArray[Any]) -> Ranks:
    """Positions of the rows from best to worst: falling score, then rising row number."""
    return np.lexsort((row, -np.asarray(score, np.float64)))


def resolve(count: int, search: Search) -> Ranks:
    """For each of ``count`` ranks the rank that refuses it, -1 where it is kept.

    ``search`` is asked in rounds: first for all rows, then for those whose first too near row turned out to be
    refused. A row whose first too near row is not decided yet waits for it. Few rounds are needed, since each decides
    all rows that hang on decided ones.
    """
    first = np.full(count, NOBODY, np.int64)
    state = np.zeros(count, np.int8)
    asking = np.arange(count, dtype=np.int64)
    while len(asking):
        first[asking] = search(asking, state == REFUSED)
        asking = _settled(first, state)
    return np.where(state == REFUSED, first, -1)


def _settled(first: Ranks, state: npt.NDArray[np.int8]) -> Ranks:
    """Decide what can be decided, in place; the ranks that must look again."""
    again = []
    for rank in np.flatnonzero(state == UNDECIDED).tolist():
        other = first[rank]
        if other == NOBODY:
            state[rank] = KEPT
        elif state[other] == KEPT:
            state[rank] = REFUSED
        elif state[other] == REFUSED:
            again.append(rank)
    return np.asarray(again, np.int64)


def near_duplicates(
    vectors: Laid, threshold: float, seed: int = 0, cells: Cells | None = None, looks: Looks | None = None
) -> Ranks:
    """In one process: for each of (N, D) unit vectors in the order of their ranks the rank that refuses it, or -1.

    ``cells`` are trained here, on a sample drawn with ``seed``, where none are given; ``looks`` are theirs by default.
    """
    if len(vectors) == 0:
        return np.zeros(0, np.int64)
    cells = cells or trained(vectors, seed)
    dim = cells.centroids.shape[1]
    buckets = Buckets(vectors, looks or cells.looks(vectors, threshold), threshold, hints(vectors, dim))
    return resolve(len(vectors), lambda asking, gone: buckets.first(asking, gone, 0, len(cells)))


def trained(vectors: Laid, seed: int, count: int = 0) -> Cells:
    """``count`` cells, or as many as suit (N, D) ``vectors``, from a sample of them drawn with ``seed``."""
    count = count or cells_for(len(vectors))
    size = min(len(vectors), SAMPLE_PER_CELL * count)
    chosen = np.random.Generator(np.random.Philox(seed)).choice(len(vectors), size, replace=False)
    return Cells.trained(vectors[np.sort(chosen)], count, seed)
