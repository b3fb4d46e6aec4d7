"""Is an image believable in part? Its crops against crops of normals and of real defects (card 000 section 8).

An embedding of the whole image hardly moves with noise in a hundredth of its pixels. A crop around the defect does: it
is near to crops of normals, or to real defects, unless a generator failed there. No torch here (decision 8).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.index import NormalIndex

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhotoCrops:
    """Unit vectors of windows of photographs.

    ``normals`` (N, R, D) are the ``reference_windows`` of normals, ``grid`` (N, 9, D) or (N, 0, D) their
    ``grid_windows``, ``shots`` (M, D) the ``defect_window`` of real defects.
    """

    normals: Vectors
    grid: Vectors
    shots: Vectors


class CropIndex:
    """Scores crops of images against those of photographs. Build once.

    The score of a defect is the mean cosine to the ``neighbours`` nearest crops of normals or, if that is more, the
    cosine to the nearest real defect. That of a grid is the lowest of its windows' mean cosines to the ``neighbours``
    nearest normals' windows at the same place; windows that show the defect, which are zeros, are left out.
    """

    def __init__(self, photos: PhotoCrops, neighbours: int, threads: int = 1) -> None:
        self._shots, self._k = photos.shots, neighbours
        self._dim = photos.normals.shape[2]
        self._normals = _index(photos.normals.reshape(-1, self._dim), threads)
        self._defects = _index(photos.shots, threads) if len(photos.shots) else None
        self._grid = [_index(photos.grid[:, place], threads) for place in range(photos.grid.shape[1])]

    def score(self, crops: Vectors) -> tuple[Vectors, Vectors]:
        """Scores of defects and of grids, (B,) float32 each, for (B, E) vectors as ``rows.EMBEDDINGS`` has them.

        A grid's is NaN where there is none, or where all its windows show the defect. A row's scores are its own.
        """
        windows = crops.reshape(len(crops), -1, self._dim)
        defect = self._normals.scores(windows[:, 0], self._k)[0]
        if self._defects is not None:
            defect = np.maximum(defect, self._defects.nearest(windows[:, 0])[0].astype(np.float32))
        grid = np.full(len(crops), np.nan, np.float32)
        for place, index in enumerate(self._grid, start=1):
            there = windows[:, place].any(axis=1)
            grid[there] = np.fmin(grid[there], index.scores(windows[there, place], self._k)[0])
        return defect, grid

    def known_defects(self) -> Floats:
        """The score of each real defect against the others, (M,); nothing where there are fewer than two."""
        if self._defects is None or len(self._shots) < 2:
            return np.zeros(0)
        near = self._normals.scores(self._shots, self._k)[0]
        return np.maximum(near, self._defects.nearest_others())

    def known_grids(self) -> Floats:
        """The score of each normal's grid against the others', (N,); nothing where there is no grid."""
        places = [index.calibrate(self._k, 0, 0, 1).scores for index in self._grid]
        return np.min(places, axis=0) if places else np.zeros(0)


def _index(vectors: Vectors, threads: int) -> NormalIndex:
    return NormalIndex([str(number) for number in range(len(vectors))], vectors, threads)
