"""Exact retrieval over unit vectors with FAISS: nearness to the normals, calibration.

FAISS finds the candidates; every cosine that decides anything is then computed again in float64, pair by pair. FAISS
sums in another order for another number of queries, so its own last bits depend on how rows were cut into batches;
what is returned here does not. This module imports no torch (decision 8).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from farm.errors import DataError

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SLACK = 1e-5  # more than a float32 cosine of unit vectors can be wrong
SPARE = 8  # neighbours asked of FAISS beyond k, to tell near ties apart
BLOCK = 256  # queries at a time; bounds memory, changes no result


@dataclass(frozen=True)
class Calibration:
    """Thresholds of one category from its own normals, card 000 section 5.

    ``low`` = quantile ``low_quantile`` of the leave-one-out scores minus ``low_margin``; ``high`` = quantile
    ``high_quantile``. ``scores`` are those N scores in the order of the normals, for histograms. What follows is of
    parts of images: the same low side for defects and for grids of crops, the most ``grain``, and what they rest on;
    None where nothing is known, and then nothing is refused for it.
    """

    low: float
    high: float
    n: int
    neighbours: int
    low_quantile: float
    low_margin: float
    high_quantile: float
    scores: tuple[float, ...]
    crop_low: float | None = None
    grid_low: float | None = None
    max_grain: float | None = None
    crop_scores: tuple[float, ...] = ()
    grid_scores: tuple[float, ...] = ()
    grains: tuple[float, ...] = ()


class NormalIndex:
    """Exact inner-product index (IndexFlatIP) of N defect-free photographs.

    ``vectors`` is (N, D) float32 of length 1, ``ids`` the N photo ids, all different; else ``DataError``. ``threads``
    is set on FAISS as a whole, which has one count for the process.
    """

    def __init__(self, ids: Sequence[str], vectors: Vectors, threads: int = 1) -> None:
        self.ids = tuple(str(photo) for photo in ids)
        self.vectors = _unit_vectors(vectors, self.ids)
        faiss.omp_set_num_threads(threads)
        self.threads = threads
        self._index = faiss.IndexFlatIP(self.vectors.shape[1])
        self._index.add(self.vectors)

    def __len__(self) -> int:
        return len(self.ids)

    def scores(self, vectors: Vectors, k: int) -> tuple[Vectors, list[str]]:
        """Mean cosine of each of (B, D) unit vectors to its ``k`` nearest normals, (B,), and the nearest one's id.

        Of equally near normals the first is named. Row i depends on vector i alone, bit for bit.
        """
        cosines, nearest = self._nearest(vectors, k, np.full(len(vectors), -1, np.int64))
        return cosines.mean(axis=1).astype(np.float32), [self.ids[position] for position in nearest]

    def nearest(self, vectors: Vectors) -> tuple[Floats, list[str]]:
        """Cosine of each of (B, D) unit vectors to the nearest photograph, (B,) float64, and that one's id."""
        cosines, nearest = self._nearest(vectors, 1, np.full(len(vectors), -1, np.int64))
        return cosines[:, 0], [self.ids[position] for position in nearest]

    def nearest_others(self) -> Floats:
        """Cosine of each photograph to the nearest other, (N,). Raises ``DataError`` where there is only one."""
        if len(self) < 2:
            raise DataError("index of normals: one photograph has no others; add photographs")
        return self._nearest(self.vectors, 1, np.arange(len(self), dtype=np.int64))[0][:, 0]

    def calibrate(self, k: int, low_quantile: float, low_margin: float, high_quantile: float) -> Calibration:
        """Thresholds by leave-one-out: each normal against its ``k`` nearest *others*.

        A normal is left out by its position and not by its vector, so a photograph that stands twice in the set
        still finds its copy. Raises ``DataError`` with fewer than ``k`` + 1 normals.
        """
        if len(self) <= k:
            raise DataError(
                f"calibration: found {len(self)} normal photographs, but filter.neighbours={k} needs at least "
                f"{k + 1}; lower filter.neighbours or add photographs"
            )
        cosines, _ = self._nearest(self.vectors, k, np.arange(len(self), dtype=np.int64))
        scores = cosines.mean(axis=1)
        return Calibration(
            low=float(np.quantile(scores, low_quantile)) - low_margin,
            high=float(np.quantile(scores, high_quantile)),
            n=len(self),
            neighbours=k,
            low_quantile=low_quantile,
            low_margin=low_margin,
            high_quantile=high_quantile,
            scores=tuple(scores.tolist()),
        )

    def without(self, ids: Iterable[str]) -> "NormalIndex":
        """A new index that lacks the photographs ``ids``. Raises ``DataError`` for an id it does not have."""
        gone = set(ids)
        unknown = sorted(gone - set(self.ids))
        if unknown:
            raise DataError(f"index of normals: cannot remove '{unknown[0]}', which is not among its {len(self)} ids")
        stay = [position for position, photo in enumerate(self.ids) if photo not in gone]
        return NormalIndex([self.ids[position] for position in stay], self.vectors[stay], self.threads)

    def _nearest(self, vectors: Vectors, k: int, leave_out: Ints) -> tuple[Floats, Ints]:
        """Cosines to the k nearest, (B, k) falling, and the position of the nearest, (B,)."""
        if not 0 < k <= len(self):
            raise DataError(
                f"index of normals: {k} neighbours asked of {len(self)} normal photographs; "
                "lower filter.neighbours or add photographs"
            )
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        cosines, nearest = np.empty((len(queries), k)), np.empty(len(queries), np.int64)
        for start in range(0, len(queries), BLOCK):
            part = slice(start, start + BLOCK)
            cosines[part], nearest[part] = self._nearest_block(queries[part], k, leave_out[part])
        return cosines, nearest

    def _nearest_block(self, queries: Vectors, k: int, leave_out: Ints) -> tuple[Floats, Ints]:
        wanted = k + (1 if (leave_out >= 0).any() else 0)
        count = min(wanted + SPARE, len(self))
        rough, positions = self._index.search(queries, count)
        cosines, order = _ranked(queries, self.vectors[positions], positions, leave_out)
        unsure = count < len(self) and rough[:, -1] > rough[:, wanted - 1] - SLACK
        for row in np.flatnonzero(unsure):  # more near ties than we asked for: look at every normal
            one, every = slice(row, row + 1), np.arange(len(self))[None]
            full, best = _ranked(queries[one], self.vectors[None], every, leave_out[one])
            cosines[row], order[row] = full[0, :count], best[0, :count]
        return cosines[:, :k], order[:, 0]


def cosine_pairs(first: Vectors, second: Vectors) -> Floats:
    """Inner products over the last axis in float64, each summed alone: its bits do not depend on the batch."""
    products: Floats = np.multiply(first, second, dtype=np.float64)
    return products.sum(axis=-1)


def _ranked(queries: Vectors, others: Vectors, positions: Ints, leave_out: Ints) -> tuple[Floats, Ints]:
    """Exact cosines in falling order, ties by position, and the positions; the left-out one comes last."""
    cosines = cosine_pairs(queries[:, None, :], others)
    cosines[positions == leave_out[:, None]] = -np.inf
    order = np.lexsort((positions, -cosines), axis=1)
    return np.take_along_axis(cosines, order, axis=1), np.take_along_axis(positions, order, axis=1)


def _unit_vectors(vectors: Vectors, ids: Sequence[str]) -> Vectors:
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or len(array) != len(ids) or len(array) == 0:
        raise DataError(
            f"index of normals: found {len(ids)} ids and vectors of shape {array.shape}; "
            "it needs (N, D) vectors for N ids, N at least 1"
        )
    if len(set(ids)) != len(ids):
        raise DataError(f"index of normals: {len(ids) - len(set(ids))} ids stand twice; give each photograph once")
    lengths = np.sqrt(cosine_pairs(array, array))
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))
    if len(wrong):
        raise DataError(
            f"index of normals: the vector of '{ids[wrong[0]]}' has length {lengths[wrong[0]]:.4g}; it must be 1 "
            f"({len(wrong)} such). Embed these photographs again"
        )
    return array
