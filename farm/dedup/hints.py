"""A quarter of each vector that tells most pairs apart for a quarter of the arithmetic, and never one that is too near.

With P the projection on a few orthonormal directions, Q that on the rest, and |Qx|² = |x|² - |Px|²,

    <x, y> = <Px, Py> + <Qx, Qy> <= <Px, Py> + (|Qx|² + |Qy|²) / 2

so a pair whose right side is below the threshold needs no full product. The right side is one product of the rows
(Px, |Qx|²/2, 1) and (Py, 1, |Qy|²/2). Directions are random (Johnson and Lindenstrauss 1984): a pair that is far apart
is so in most of them too.
"""

import numpy as np
import numpy.typing as npt

from farm.dedup.blocks import Laid

Reals = npt.NDArray[np.float32]

LEAST_DIM, PART = 128, 4  # vectors shorter than this are compared whole; else a PART-th of their length
BLOCK = 16_384


def hints(vectors: Laid, dim: int) -> Reals | None:
    """(N, dim) vectors → (N, dim // PART + 2) rows (Px, |Qx|²/2, 1), float32; None where it does not pay."""
    if dim < LEAST_DIM:
        return None
    directions = _directions(dim, dim // PART)
    found = np.ones((len(vectors), dim // PART + 2), np.float32)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        whole = np.asarray(vectors[part], np.float32)
        short = whole @ directions
        found[part, :-2] = short
        found[part, -2] = (np.square(whole).sum(axis=1) - np.square(short).sum(axis=1)) / 2
    return found


def upper_bounds(first: Reals, second: Reals) -> Reals:
    """(A, k) and (B, k) hints → (A, B): no cosine of such a pair is above its bound, but for rounding."""
    turned = np.concatenate([second[:, :-2], second[:, -1:], second[:, -2:-1]], axis=1)
    bounds: Reals = first @ turned.T
    return bounds


def _directions(dim: int, count: int) -> Reals:
    """(dim, count) orthonormal columns, always the same."""
    drawn = np.random.Generator(np.random.Philox(0)).standard_normal((dim, count))
    return np.linalg.qr(drawn)[0].astype(np.float32)
