"""Pixel facts of a made row: what changed against the source, where, and how well the rest was kept.

SSIM: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", Eq. (13), Gaussian
window of 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03, on luminance, borders mirrored.
"""

import cv2
import numpy as np
import numpy.typing as npt

from farm.ssim import similarity

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float32]
Plane = npt.NDArray[np.float64]

NAMES = ("mean_change", "changed_area", "ssim_outside", "grain")
WINDOW_PX = 11
SIGMA_PX = 1.5
VISIBLE_LEVEL = 1.0  # a pixel has changed when its mean channel change exceeds this, of 255
DILATE_PX = 8  # half an SSIM window and 3 pixels of feathering


def pixel_facts(source: Pixels, image: Pixels, mask: Pixels, dilate_px: int = DILATE_PX) -> dict[str, Numbers]:
    """The columns ``NAMES`` of ``rows.FACTS``, each (B,) float32.

    source and image are (B, H, W, 3) uint8, mask (B, H, W) in {0, 1}, 1 where a change is wanted. ``ssim_outside`` is
    the mean structural similarity over pixels further than ``dilate_px`` from the mask; 1 where there are none.
    """
    facts = [_one(*row, dilate_px) for row in zip(source, image, mask, strict=True)]
    columns = np.array(facts, np.float32).reshape(-1, len(NAMES)).T
    return {name: np.ascontiguousarray(column) for name, column in zip(NAMES, columns, strict=True)}


def ssim_map(first_HW: Plane, second_HW: Plane) -> Plane:
    """Structural similarity of two luminance planes (0..255) at each pixel, (H, W); 1 = identical."""
    planes: Plane = similarity(first_HW, second_HW, _smooth, (0.01 * 255) ** 2, (0.03 * 255) ** 2)
    return planes


def grain(image: Pixels, where: npt.NDArray[np.bool_]) -> float:
    """How much single pixels stand out: mean |image - its 3 x 3 median| over the pixels ``where``, 0..255; 0 if none.

    Structures two pixels wide hardly count, so what is left is noise.
    """
    if not where.any():
        return 0.0
    return float(cv2.absdiff(image, cv2.medianBlur(image, 3))[where].mean(dtype=np.float64))


def _one(source: Pixels, image: Pixels, mask: Pixels, dilate_px: int) -> tuple[float, ...]:
    change = cv2.absdiff(source, image)
    red, green, blue = (change[..., channel].astype(np.int32) for channel in range(3))
    changed = red + green + blue > VISIBLE_LEVEL * 3
    outside = _ssim_outside(source, image, mask, dilate_px)
    return int(change.sum()) / change.size, np.count_nonzero(changed) / mask.size, outside, grain(image, changed)


def _ssim_outside(source: Pixels, image: Pixels, mask: Pixels, dilate_px: int) -> float:
    kernel = np.ones((2 * dilate_px + 1, 2 * dilate_px + 1), np.uint8)
    outside = cv2.dilate(mask, kernel) == 0
    if not outside.any():
        return 1.0
    return float(ssim_map(_luminance(source), _luminance(image))[outside].mean())


def _luminance(pixels_HWC: Pixels) -> Plane:
    return cv2.cvtColor(pixels_HWC.astype(np.float32), cv2.COLOR_RGB2GRAY).astype(np.float64)


def _smooth(plane_HW: Plane) -> Plane:
    blurred: Plane = cv2.GaussianBlur(plane_HW, (WINDOW_PX, WINDOW_PX), SIGMA_PX, borderType=cv2.BORDER_REFLECT)
    return blurred
