"""Masks and pixels after the network: dilation, compositing, and the refined mask of card 001 section 6.

The paper's Eq. 10 cannot be read anywhere; this is the card's choice. The defect is where the image differs from the
reconstruction of its own source, so that the autoencoder's error, which both share, cancels.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from farm.distance import distance_px

Pixels = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float32]

SIGMA_PX = 1.0  # smoothing of the residual
NOISE_FACTOR = 3.0  # a defect stands above this many standard deviations of the residual outside
VISIBLE = 4.0  # of 255: a smoothed change below this is nothing that a person would see on a textured part
MIN_COMPONENT = 0.0002  # share of the image below which a component is dropped
_BINS = 256


def dilate(mask: Pixels, radius_px: int) -> Pixels:
    """(H, W) in {0, 1}: the pixels within ``radius_px`` of the mask, a disc around each of its pixels."""
    if not mask.any():
        return np.zeros_like(mask)
    distance = distance_px(mask == 0)
    dilated: Pixels = (distance <= radius_px + 1e-3).astype(np.uint8)
    return dilated


def feather(mask: Pixels, dilated: Pixels) -> Reals:
    """(H, W) weight of the new image: 1 in ``mask``, falling through ``dilated``, 0 outside: by nearness to each."""
    if dilated.all() or not mask.any():
        return mask.astype(np.float32) if not mask.any() else np.ones(mask.shape, np.float32)
    to_outside = distance_px(dilated)
    to_mask = distance_px(mask == 0)
    weight: Reals = to_outside / (to_outside + to_mask)
    return weight


def composite(image: Pixels, source: Pixels, mask: Pixels, radius_px: int) -> Pixels:
    """``image`` inside the mask, fading to ``source`` within ``radius_px`` of it; bytes beyond are the source's."""
    dilated = dilate(mask, radius_px)
    weight = feather(mask, dilated)[..., None]
    mixed = np.rint(weight * image + (1 - weight) * source).astype(np.uint8)
    return np.where(dilated[..., None] == 1, mixed, source)


def background_error(image: Pixels, source: Pixels, dilated: Pixels) -> float:
    """Mean |image - source| over pixels and channels outside ``dilated``, 0..255; 0 where nothing is outside."""
    outside = dilated == 0
    return float(np.abs(image[outside].astype(np.float32) - source[outside]).mean()) if outside.any() else 0.0


def refine(image: Pixels, reconstruction: Pixels, mask: Pixels, radius_px: int) -> Pixels:
    """(H, W) in {0, 1}: the pixels of the dilated mask that really changed, holes filled, specks dropped.

    d = mean_c |image - reconstruction|, smoothed; kept where it is above the largest of Otsu's threshold in the dilated
    mask, 3 standard deviations of d outside, and ``VISIBLE``.
    """
    dilated = dilate(mask, radius_px)
    residual = np.abs(image.astype(np.float32) - reconstruction).mean(axis=-1)
    d = cv2.GaussianBlur(residual, (0, 0), SIGMA_PX)
    inside = dilated == 1
    if not inside.any():
        return np.zeros_like(mask)
    noise = float(d[~inside].std()) if not inside.all() else 0.0
    found = (d > max(otsu(d[inside]), NOISE_FACTOR * noise, VISIBLE)) & inside
    filled = ndimage.binary_fill_holes(found) & inside
    return drop_specks(filled.astype(np.uint8), MIN_COMPONENT * mask.size)


def otsu(values: Reals) -> float:
    """The threshold that parts ``values`` into two classes of greatest between-class variance (Otsu 1979).

    Values above it are the upper class; where all are equal, it is that value and nothing lies above.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return high
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1], counts.sum()
    mass = np.cumsum(counts * centres)
    mean_low, mean_high = mass[:-1] / below, (mass[-1] - mass[:-1]) / (total - below)
    between = below * (total - below) * (mean_low - mean_high) ** 2
    best = np.flatnonzero(between == between.max())  # a gap in the histogram ties: its middle
    return float(edges[1:-1][best].mean())


def drop_specks(mask: Pixels, min_pixels: float) -> Pixels:
    """``mask`` without its 8-connected components of fewer than ``min_pixels`` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_pixels
    keep[0] = False
    kept: Pixels = keep[labels].astype(np.uint8)
    return kept
