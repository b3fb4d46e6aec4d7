"""Changes of a photograph that leave it normal: flips where legal, a slight turn, scale and brightness (card 002, 4.2).

Within +-3 degrees, +-2 % and +-5 %; what comes in at the borders is mirrored. Each picture has its own draws.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from farm.config.methods import Flip

Pixels = npt.NDArray[np.uint8]

TURN_DEG, SCALE, BRIGHTNESS = 3.0, 0.02, 0.05


def lightly(image: Pixels, count: int, flips: Sequence[Flip], rng: np.random.Generator) -> Pixels:
    """uint8 (count, H, W, 3): ``image`` (H, W, 3) changed ``count`` times. Quarter turns need a square image."""
    return np.stack([_changed(image, flips, rng) for _ in range(count)])


def _changed(image: Pixels, flips: Sequence[Flip], rng: np.random.Generator) -> Pixels:
    turn, scale, gain = rng.uniform(-1, 1, 3) * (TURN_DEG, SCALE, BRIGHTNESS) + (0, 1, 1)
    across, down, quarters = int(rng.integers(2)), int(rng.integers(2)), int(rng.integers(4))
    if "horizontal" in flips and across:
        image = image[:, ::-1]
    if "vertical" in flips and down:
        image = image[::-1]
    if "quarter_turns" in flips:
        image = np.rot90(image, quarters)
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, scale)
    moved = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.clip(np.rint(moved * gain), 0, 255).astype(np.uint8)
