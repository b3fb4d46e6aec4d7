"""An embedder without weights: the coarse pattern of light. For dry runs, and for machines without torch.

It tells apart photographs that differ in where they are bright, and nothing finer; a filter that is to judge
generated defects needs a trained one.
"""

import numpy as np

from farm.embedders import Pixels, Vectors

CELLS = 8  # along each axis
WEIGHTS = np.array([299, 587, 114], np.int64)  # of red, green and blue in luminance (ITU-R BT.601), in thousandths


class MeanPixels:
    """64-d embedder: grey levels averaged over 8 x 8 cells, less their mean, at length 1.

    A photograph whose cells are all equal has the vector whose 64 components are equal, at a right angle to all others.
    """

    name = "pixels/8x8"
    dim = CELLS * CELLS

    def __call__(self, images: Pixels) -> Vectors:
        """(B, H, W, 3) uint8  ->  (B, 64) float32 unit vectors. Sums are of integers, so a row's bits are its own."""
        grey_BHW = images.astype(np.int64) @ WEIGHTS
        rows, row_sizes = _cells(images.shape[1])
        columns, column_sizes = _cells(images.shape[2])
        sums = np.add.reduceat(np.add.reduceat(grey_BHW, rows, axis=1), columns, axis=2)
        means = (sums / (row_sizes[:, None] * column_sizes)).reshape(len(images), self.dim)
        pattern = means - means.mean(axis=1, keepdims=True)
        length = np.sqrt((pattern * pattern).sum(axis=1, keepdims=True))
        flat = length == 0
        vectors = np.where(flat, 1 / CELLS, pattern / np.where(flat, 1, length))
        return np.asarray(vectors, np.float32)


def _cells(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of the 8 cells of an axis of ``side`` pixels begins, and how many it has; at least 1 each."""
    starts = np.arange(CELLS) * side // CELLS
    return starts, np.maximum(1, np.diff(starts, append=side))
