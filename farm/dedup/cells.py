"""A coarse quantiser: k-means by FAISS, and the cells that a row must look into so that nothing is missed.

A row x must find every y with cosine at least t, so at a distance of at most r = sqrt(2 (1 - t)). Let g0 be the home of
x, its nearest centroid. A cell g is the home of y = x + r z, |z| <= 1, only if |y - g| <= |y - g0|, that is

    |x - g|² - |x - g0|² <= 2 r <z, g - g0> <= 2 r |g - g0|

so x looks into the cells for which the left side is at most the right one. No pair is missed, whatever the centroids:
they decide only how long it takes. Where the vectors do not fall into groups that lie farther apart than r, many cells
qualify, and the time goes towards that of comparing all with all.

No torch here (decision 8).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import faiss
import numpy as np
import numpy.typing as npt

from farm.errors import DataError
from farm.index import SLACK

if TYPE_CHECKING:
    from farm.dedup.blocks import Laid

Vectors = npt.NDArray[np.floating]
Reals = npt.NDArray[np.float32]
Cell = npt.NDArray[np.int32]
Ranks = npt.NDArray[np.int64]

ONE_CELL = 16_384  # vectors that one cell may hold: all pairs of them take seconds
PER_SQUARE_ROOT = 4.0  # cells for each square root of the vectors: as many centroids as members that a row looks at
SAMPLE_PER_CELL = 32  # vectors that train a centroid
ITERATIONS = 5
UNIT = 4e-4  # what |x|² + |y|² may be off 2: float16 vectors are of length 1 within 1e-4
USUAL = 128  # cells that are ranked for every row; a row that needs more gets more
BLOCK, WIDE = 16_384, 1024  # vectors at a time; bounds memory, changes no result


def cells_for(count: int) -> int:
    """How many cells suit ``count`` vectors: one as long as exact search is quick, then about four square roots."""
    return 1 if count <= ONE_CELL else 2 ** round(np.log2(PER_SQUARE_ROOT * np.sqrt(count)))


@dataclass(frozen=True)
class Looks:
    """The cells that each of N rows looks into: row i has ``cells[limits[i]:limits[i + 1]]``, its home first."""

    limits: Ranks
    cells: Cell

    def __len__(self) -> int:
        return len(self.limits) - 1

    @property
    def home(self) -> Cell:
        """(N,) where each row lives."""
        return self.cells[self.limits[:-1]]

    def of(self, rows: Ranks) -> "Looks":
        """Those of ``rows``, in this order."""
        counts = np.diff(self.limits)[rows]
        limits = np.concatenate([[0], np.cumsum(counts)])
        taken = np.arange(limits[-1]) + np.repeat(self.limits[rows] - limits[:-1], counts)
        return Looks(limits, self.cells[taken])

    @staticmethod
    def joined(parts: Sequence["Looks"]) -> "Looks":
        """The rows of all ``parts``, one after the other."""
        counts = np.concatenate([np.diff(part.limits) for part in parts])
        return Looks(np.concatenate([[0], np.cumsum(counts)]), np.concatenate([part.cells for part in parts]))


@dataclass(frozen=True)
class Cells:
    """Centroids (C, D) float32. Whatever they are, the same pairs are found."""

    centroids: Reals

    def __len__(self) -> int:
        return len(self.centroids)

    @classmethod
    def trained(cls, sample: Vectors, count: int, seed: int) -> "Cells":
        """``count`` cells from (N, D) unit vectors; on one thread, so that the seed decides them.

        Raises ``DataError`` with fewer vectors than cells.
        """
        if len(sample) < count:
            raise DataError(f"cells: {count} cells need as many vectors to learn from; found {len(sample)}")
        vectors = np.ascontiguousarray(sample, np.float32)
        if count == 1:
            return cls(vectors.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32))
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            means = faiss.Kmeans(
                vectors.shape[1],
                count,
                niter=ITERATIONS,
                seed=seed % 2**31,
                min_points_per_centroid=1,
                max_points_per_centroid=len(vectors),  # the sample is ours, and so is its size
            )
            means.train(vectors)
            return cls(np.array(means.centroids, np.float32))
        finally:
            faiss.omp_set_num_threads(threads)

    def home(self, vectors: "Laid") -> Looks:
        """Only the home of each of (N, D) vectors: whoever looks no farther misses pairs across borders."""
        looks = self.looks(vectors, 1.0)
        return Looks(np.arange(len(looks) + 1, dtype=np.int64), looks.home)

    def looks(self, vectors: "Laid", threshold: float) -> Looks:
        """Where each of (N, D) unit vectors must look to miss nothing that is too near to it; the home first."""
        if len(self) == 1:
            return Looks(np.arange(len(vectors) + 1, dtype=np.int64), np.zeros(len(vectors), np.int32))
        index = faiss.IndexFlatL2(self.centroids.shape[1])
        index.add(self.centroids)
        reach = 2 * float(np.sqrt(2 * max(0.0, 1 - threshold) + UNIT)) * self._apart()
        parts = [
            self._looks(index, reach, np.ascontiguousarray(vectors[start : start + BLOCK], np.float32))
            for start in range(0, len(vectors), BLOCK)
        ]
        return Looks.joined(parts or [Looks(np.zeros(1, np.int64), np.zeros(0, np.int32))])

    def _looks(self, index: faiss.IndexFlatL2, reach: Reals, vectors: Reals) -> Looks:
        """Of one block: first among the ``USUAL`` nearest cells, then, for a row that these do not hold, among all."""
        away, cells = index.search(vectors, min(USUAL, len(self)))  # squared distances, rising
        home = cells[:, :1]
        inside = away - away[:, :1] <= reach[home, cells] + SLACK
        wide = np.flatnonzero(inside[:, -1]) if cells.shape[1] < len(self) else np.zeros(0, np.int64)
        inside[:, 0] = False  # home goes before all others
        parts = [(np.nonzero(inside)[0], cells[inside])]
        for start in range(0, len(wide), WIDE):
            part = wide[start : start + WIDE]
            far = (
                faiss.pairwise_distances(vectors[part], self.centroids) - away[part, :1] <= reach[home[part, 0]] + SLACK
            )
            far[np.arange(len(part))[:, None], cells[part]] = False  # known already
            more, found = np.nonzero(far)
            parts.append((part[more], found))
        rows = np.concatenate([np.arange(len(vectors)), *(part for part, _ in parts)])
        cells = np.concatenate([home[:, 0], *(part for _, part in parts)])
        order = np.argsort(rows, kind="stable")
        limits = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(vectors)))]).astype(np.int64)
        return Looks(limits, cells[order].astype(np.int32))

    def _apart(self) -> Reals:
        """(C, C) distances between centroids."""
        wide = self.centroids.astype(np.float64)
        lengths = np.square(wide).sum(axis=1)
        squared = lengths[:, None] + lengths[None] - 2 * (wide @ wide.T)
        return np.sqrt(np.maximum(squared, 0)).astype(np.float32)
