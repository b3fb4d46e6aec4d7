"""The search inside cells: for each row the best row that it is too near to, among those that live where it looks."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from farm.dedup.blocks import Laid
from farm.dedup.cells import Cell, Looks, Ranks
from farm.dedup.hints import upper_bounds
from farm.index import SLACK, cosine_pairs

Flags = npt.NDArray[np.bool_]

NOBODY = np.iinfo(np.int64).max  # later than every rank
MEMBERS, VISITORS = 1024, 8192  # rows and columns of a block of cosines: 32 MB
PAIRS, FEW = 16_384, 0.01  # pairs compared at a time, and the share of all up to which that is shorter
AT_ONCE = 1 << 22  # visits that are laid out at a time


class Buckets:
    """(N, D) unit vectors, float32 or float16, in the order of their ranks, and the cells that each looks into.

    ``vectors`` and their ``hints`` (``farm.dedup.hints``; they save time, and may be missing) need only give rows by
    number, so they may be mapped files or ``Blocks``.
    """

    def __init__(self, vectors: Laid, looks: Looks, threshold: float, hints: Laid | None = None) -> None:
        self.vectors, self.looks, self.threshold, self.hints = vectors, looks, threshold, hints

    def __len__(self) -> int:
        return len(self.vectors)

    def first(self, asking: Ranks, gone: Flags, low: int, high: int) -> Ranks:
        """For each of the ranks ``asking``, rising, the best rank too near to it that lives in cells low..high-1.

        ``gone`` (N,) marks rows that refuse nobody. ``NOBODY`` where there is none. The answers of several ranges of
        cells are put together with ``np.minimum``.
        """
        best = np.full(len(self), NOBODY, np.int64)
        home = self.looks.home
        members = np.flatnonzero((home >= low) & (home < high) & ~gone)
        members = members[np.argsort(home[members], kind="stable")]
        of_cell = home[members]
        for cells, visitors in self._visits(asking, low, high):
            limits = np.flatnonzero(np.diff(cells, prepend=-1, append=np.iinfo(np.int32).max))
            for start, end in pairwise(limits):
                left, right = np.searchsorted(of_cell, [cells[start], cells[start] + 1])
                self._look(visitors[start:end], members[left:right], best)
        return best[asking]

    def _visits(self, asking: Ranks, low: int, high: int) -> Iterator[tuple[Cell, Ranks]]:
        """(cell, visiting rank) pairs by cell, then by rank; a cell's visitors come together or in rising parts."""
        step = max(1, AT_ONCE * len(self) // max(1, len(self.looks.cells)))
        for start in range(0, len(asking), step):
            part = asking[start : start + step]
            looks = self.looks.of(part)
            inside = np.flatnonzero((looks.cells >= low) & (looks.cells < high))
            visitors = np.repeat(part, np.diff(looks.limits))[inside]
            order = np.argsort(looks.cells[inside], kind="stable")
            yield looks.cells[inside[order]], visitors[order]

    def _look(self, visitors: Ranks, members: Ranks, best: Ranks) -> None:
        """Lower ``best`` of ``visitors`` to the first of ``members`` that is too near; both are in rising order."""
        for left in range(0, len(members), MEMBERS):
            block = members[left : left + MEMBERS]
            asking = visitors[(visitors > block[0]) & (best[visitors] > block[0])]
            if len(asking) == 0:
                continue
            for start in range(0, len(asking), VISITORS):
                part = asking[start : start + VISITORS]
                pairs = self._possible(part, block)
                found = self._first_of(part, block) if pairs is None else self._first_among(part, block, *pairs)
                best[part] = np.minimum(best[part], found)

    def _possible(self, asking: Ranks, block: Ranks) -> tuple[Ranks, Ranks] | None:
        """(rows, columns) of the pairs that may be too near, in order; None where that is no shorter than all."""
        if self.hints is None:
            return None
        bounds = upper_bounds(self.hints[asking], self.hints[block])
        rows, columns = np.nonzero(bounds > self.threshold - SLACK)
        earlier = block[columns] < asking[rows]
        few = FEW * bounds.size
        return (rows[earlier], columns[earlier]) if len(rows) <= few else None

    def _first_among(self, asking: Ranks, block: Ranks, rows: Ranks, columns: Ranks) -> Ranks:
        """The first too near of ``block`` for each of ``asking``, looking at the pairs (rows, columns) only."""
        found = np.full(len(asking), NOBODY, np.int64)
        for start in range(0, len(rows), PAIRS):
            part = slice(start, start + PAIRS)
            here, there = (
                np.asarray(self.vectors[of], np.float32) for of in (asking[rows[part]], block[columns[part]])
            )
            near = cosine_pairs(here, there) >= self.threshold
            np.minimum.at(found, rows[part][near], block[columns[part][near]])
        return found

    def _first_of(self, asking: Ranks, block: Ranks) -> Ranks:
        """The first too near of ``block`` for each of ``asking``, looking at all pairs."""
        here, there = (np.asarray(self.vectors[of], np.float32) for of in (asking, block))
        cosines = here @ there.T
        near = cosines > self.threshold - SLACK
        found = np.full(len(asking), NOBODY, np.int64)
        rows = np.flatnonzero(near.any(axis=1))
        if len(rows) == 0:
            return found
        near, cosines = near[rows], cosines[rows]
        near &= block[None] < asking[rows, None]
        sure = near & (cosines > self.threshold + SLACK)
        first_sure = np.where(sure.any(axis=1), sure.argmax(axis=1), len(block))
        doubtful = near & ~sure & (np.arange(len(block)) < first_sure[:, None])
        for row in np.flatnonzero(doubtful.any(axis=1)):
            columns = np.flatnonzero(doubtful[row])
            exact = cosine_pairs(here[rows[row]], there[columns]) >= self.threshold
            if exact.any():
                first_sure[row] = columns[np.argmax(exact)]
        hit = first_sure < len(block)
        found[rows[hit]] = block[first_sure[hit]]
        return found
