"""From the picture of an anomaly part to its mask, and whether the two branches agree: card 003 section 6.

The part lies on mid-grey (0 in [-1, 1]), so what differs from it is the anomaly. This stands where the authors' code
has U-2-Net, an external network.
"""

import cv2
import numpy as np
import numpy.typing as npt

from farm.methods.refine import drop_specks, otsu

Mask = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float32]

SIGMA_PX = 1.0
MIN_COMPONENT = 0.0002  # share of the image below which a component is dropped
NO_PART = "no_visible_part"
PART_TOO_LARGE = "part_too_large"
DISAGREE = "branches_disagree"


def part_mask(part: Reals, floor: float) -> Mask:
    """(H, W) in {0, 1}: where ``part`` (H, W, 3), in [-1, 1], shows something on its grey ground; all 0 for grey alone.

    max_c |part - ground|, smoothed, above Otsu's threshold and above ``floor``; opened and closed by 3 x 3, specks
    dropped. The ground is the median colour: mid-grey, or what a model that keeps its grey badly makes of it.
    """
    ground = np.median(part, axis=(0, 1))
    away = cv2.GaussianBlur(np.abs(part - ground).max(axis=-1), (0, 0), SIGMA_PX)
    found = (away > max(otsu(away), floor)).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    solid = cv2.morphologyEx(cv2.morphologyEx(found, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    return drop_specks(np.asarray(solid, np.uint8), MIN_COMPONENT * found.size)


def disagreement(whole: Reals, part: Reals, mask: Mask) -> float:
    """Mean |whole - part| over pixels and channels of the mask, both (H, W, 3) in [-1, 1]; 0 where it is empty."""
    inside = mask == 1
    return float(np.abs(whole[inside] - part[inside]).mean()) if inside.any() else 0.0


def objection(whole: Reals, part: Reals, mask: Mask, areas: tuple[float, float], most: float) -> str:
    """Why a sample is refused, or "": too little or too much of it is a part, or the branches disagree."""
    area = float(mask.mean())
    if area < areas[0] or not mask.any():
        return NO_PART
    if area > areas[1]:
        return PART_TOO_LARGE
    return DISAGREE if disagreement(whole, part, mask) > most else ""
