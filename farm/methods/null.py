"""A dry run of the farm: the source with one small patch changed inside the target mask. No network, no torch.

It costs next to nothing, so that what a run of it measures is the farm around it, and it keeps the contract of every
method: the label is where pixels really changed, and all others are the source's, byte for byte.
"""

import numpy as np

from farm.config import NullConfig, Run
from farm.ids import generator
from farm.images import Pixels
from farm.methods.base import Made, Request

PATCH_PX = 8  # side of the square around a pixel of the mask
LEAST_STEP, STEPS = 32, 64  # levels by which a patch changes: at least the first, below the sum


class Null:
    """Brightens what is dark and darkens what is bright in a patch of the target mask, by the row's own seed."""

    needs_trajectory = False

    def __init__(self, config: NullConfig, run: Run) -> None:
        """Nothing is loaded."""

    def __call__(self, request: Request) -> Made:
        """Make all rows; one whose target mask is empty says so in ``error``. ``evaluations`` are 0."""
        count = len(request.seed)
        image, label = request.source.copy(), np.zeros_like(request.mask)
        errors = [""] * count
        for row in range(count):
            inside = np.flatnonzero(request.mask[row])
            if not len(inside):
                errors[row] = "the target mask is empty"
                continue
            pick, step = generator(int(request.seed[row]), "null").random(2)
            square = patch(int(inside[int(pick * len(inside))]), request.mask.shape[2])
            label[row][square] = request.mask[row][square] > 0
            moved = changed(image[row][square], LEAST_STEP + int(step * STEPS))
            image[row][square] = np.where(label[row][square][..., None] > 0, moved, image[row][square])
        nothing = ("",) * count
        return Made(image, label, np.zeros(count, np.int32), np.zeros(count, np.float32), nothing, tuple(errors))


def patch(place: int, width: int) -> tuple[slice, slice]:
    """The square of ``PATCH_PX`` around pixel number ``place`` of a picture of this ``width``, as far as it goes."""
    y, x = divmod(place, width)
    top, left = max(0, y - PATCH_PX // 2), max(0, x - PATCH_PX // 2)
    return slice(top, top + PATCH_PX), slice(left, left + PATCH_PX)


def changed(pixels: Pixels, step: int) -> Pixels:
    """Every value moved by ``step`` (at most 128) towards the other end of the range, so that none stays as it is."""
    return np.where(pixels < 128, pixels + np.uint8(step), pixels - np.uint8(step))
