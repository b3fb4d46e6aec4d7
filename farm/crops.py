"""Square windows of a photograph, for what an embedding of the whole cannot see: a defect is a hundredth of the pixels.

A window is (top, left, side) in pixels. What is cut out is scaled to the size of the photograph it comes from, so that
windows of all sizes can be embedded together.
"""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Window = tuple[int, int, int]
Crops = Literal["none", "defect", "grid"]

AROUND = 2.0  # side of the window around a defect, in sides of its box
LEAST = 4  # no window is smaller than a LEAST-th of the photograph: fewer pixels say nothing
GRID = 3  # windows a side of the grid, half overlapping
WINDOWS: dict[Crops, int] = {"none": 0, "defect": 1, "grid": 1 + GRID * GRID}  # of an image


def row_windows(label: Pixels, crops: Crops) -> list[Window]:
    """The ``WINDOWS[crops]`` windows of an image with the (H, W) ``label``: the defect's, then those of the grid."""
    around = [] if crops == "none" else [defect_window(label)]
    return around + (grid_windows(label.shape) if crops == "grid" else [])


def defect_window(label: Pixels) -> Window:
    """The square around all marked pixels, ``AROUND`` times as wide as their box, moved inside; the middle if none."""
    height, width = label.shape
    least = min(height, width) // LEAST
    x, y, box_width, box_height = cv2.boundingRect(label) if label.any() else (0, 0, width, height)
    side = min(height, width, max(least, round(AROUND * max(box_width, box_height))))
    top, left = round(y + (box_height - side) / 2), round(x + (box_width - side) / 2)
    return min(max(top, 0), height - side), min(max(left, 0), width - side), side


def grid_windows(shape: Sequence[int]) -> list[Window]:
    """``GRID`` x ``GRID`` windows that cover a photograph of ``shape`` (H, W), each half as wide as it."""
    height, width = shape[:2]
    side = min(height, width) // 2
    tops, lefts = (np.linspace(0, length - side, GRID).round().astype(int).tolist() for length in (height, width))
    return [(top, left, side) for top in tops for left in lefts]


def reference_windows(shape: Sequence[int]) -> list[Window]:
    """What windows around defects are held against: the quarters of a photograph, and the middle of each quarter."""
    height, width = shape[:2]
    half, quarter = min(height, width) // 2, min(height, width) // 4
    corners = [(top, left) for top in (0, height - half) for left in (0, width - half)]
    middles = [(top + half // 4, left + half // 4, quarter) for top, left in corners]
    return [(top, left, half) for top, left in corners] + middles


def shows(label: Pixels, window: Window) -> bool:
    """Whether the window has a pixel that ``label`` marks."""
    top, left, side = window
    return bool(label[top : top + side, left : left + side].any())


def cut(image: Pixels, windows: Sequence[Window]) -> Pixels:
    """(n, H, W, 3): the ``windows`` of an (H, W, 3) image, each scaled to (H, W), bilinear."""
    height, width = image.shape[:2]
    parts = [cv2.resize(image[top : top + side, left : left + side], (width, height)) for top, left, side in windows]
    return np.stack(parts).astype(np.uint8) if parts else np.zeros((0, *image.shape), np.uint8)
