"""Synthetic pairs to learn from (card 004 sections 4 and 6): a real defect, turned and scaled, pasted on a normal.

The pasted defect lies inside the image and inside the foreground as a whole: a draw that does not is drawn again,
``TRIES`` times, then the defect is shrunk by a tenth and so on, so that every call ends.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from farm.images import Pixels

cv2.setNumThreads(1)

Part = npt.NDArray[np.bool_]

TRIES = 200
SHRINK = 0.9


@dataclass(frozen=True)
class Cutout:
    """A defect cut from its photograph: its bounding box, the last row and column in it."""

    image: Pixels  # (h, w, 3)
    mask: Pixels  # (h, w) in {0, 1}


@dataclass(frozen=True)
class Moved:
    """A cut-out's place: ``mask`` (h', w') in {0, 1} at (top, left), and the map that made it from the cut-out."""

    mask: Pixels
    top: int
    left: int
    turn: npt.NDArray[np.float64]  # (2, 3)


def cut_out(image: Pixels, mask: Pixels) -> Cutout:
    """The bounding box of a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Cutout(np.ascontiguousarray(image[box]), np.ascontiguousarray(mask[box]))


def paste(
    normal: Pixels,
    part: Part,
    cutout: Cutout,
    rng: np.random.Generator,
    rotation_deg: float = 360.0,
    scale: tuple[float, float] = (0.85, 1.15),
) -> tuple[Pixels, Pixels]:
    """``normal`` (S, S, 3) with the defect inside ``part``, bool (S, S), and the defect's mask (S, S) in {0, 1}."""
    moved = place(part if part.any() else np.ones_like(part), cutout.mask, rng, rotation_deg, scale)
    height, width = moved.mask.shape
    box = (slice(moved.top, moved.top + height), slice(moved.left, moved.left + width))
    pixels = cv2.warpAffine(
        cutout.image, moved.turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    image, mask = normal.copy(), np.zeros(part.shape, np.uint8)
    image[box] = np.where(moved.mask[..., None] == 1, pixels, normal[box])
    mask[box] = moved.mask
    return image, mask


def place(part: Part, mask: Pixels, rng: np.random.Generator, rotation_deg: float, scale: tuple[float, float]) -> Moved:
    """A random turn, size and place of ``mask`` (h, w) at which all of it is inside ``part``, which is not empty.

    Where it never fits, it ends as one pixel of ``part``.
    """
    shrink = 1.0
    while shrink * max(mask.shape) >= 1:
        for _ in range(TRIES):
            angle, size = float(rng.uniform(0, rotation_deg)), shrink * float(rng.uniform(*scale))
            moved = _drawn(part, mask, angle, size, rng)
            if moved is not None and _inside(part, moved):
                return moved
        shrink *= SHRINK
    row, column = divmod(int(rng.choice(np.flatnonzero(part))), part.shape[1])
    middle = np.array([[1.0, 0.0, -(mask.shape[1] // 2)], [0.0, 1.0, -(mask.shape[0] // 2)]])
    return Moved(np.ones((1, 1), np.uint8), row, column, middle)


def _drawn(part: Part, mask: Pixels, angle: float, size: float, rng: np.random.Generator) -> Moved | None:
    """The turned mask at a random place of the image; None where it is empty or larger than the image."""
    height, width = mask.shape
    reach = math.ceil(size * math.hypot(height, width)) + 2
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, size)
    turn[:, 2] += ((reach - width) / 2, (reach - height) / 2)
    shares = cv2.warpAffine(mask.astype(np.float32), turn, (reach, reach), flags=cv2.INTER_LINEAR)
    turned = (shares >= 0.5).astype(np.uint8)
    if not turned.any():
        return None
    rows, columns = np.flatnonzero(turned.any(1)), np.flatnonzero(turned.any(0))
    turned = np.ascontiguousarray(turned[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    turn[:, 2] -= (columns[0], rows[0])
    free = (part.shape[0] - turned.shape[0], part.shape[1] - turned.shape[1])
    if min(free) < 0:
        return None
    return Moved(turned, int(rng.integers(free[0] + 1)), int(rng.integers(free[1] + 1)), turn)


def _inside(part: Part, moved: Moved) -> bool:
    """Whether the area common to mask and part is the area of the mask."""
    height, width = moved.mask.shape
    window = part[moved.top : moved.top + height, moved.left : moved.left + width]
    return int((window & (moved.mask == 1)).sum()) == int(moved.mask.sum())
