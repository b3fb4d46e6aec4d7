"""The regions of one photograph's mask: what each defect pixel adds to PRO or sPRO, and what finds half of a region.

PRO (card 005 A) gives every region the same weight, so that a small one counts as much as a large one; sPRO (MVTec
LOCO, Bergmann et al. 2022, IJCV 130, section 4.3) lets region k be found once s_k <= n_k of its pixels are:

    sPRO(t) = mean_k min(|{A >= t} in C_k| / s_k, 1)

Only the s_k highest scores of a region can add to that, so a pixel of rank r (from 0) within its region carries the
weight clip(s_k - r, 0, 1) / s_k, and sPRO(t) is the mean over regions of the weights at or above t. PRO is s_k = n_k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from farm.metrics.curves import Floats, Numbers


@dataclass(frozen=True)
class Regions:
    """K regions of a photograph with P defect pixels."""

    defect: npt.NDArray[np.bool_]  # (H, W) pixels in any region
    weights: Floats  # (P,) what each of them adds to the sum over regions of sPRO, in the order of ``defect``
    halves: Numbers  # (K,) v_k: the highest threshold that finds more than half of region k


def mask_regions(scores: Numbers, mask: Numbers) -> Regions:
    """The 8-connected components of the non-zero pixels of ``mask``; both (H, W). A region saturates at its area."""
    defect = mask != 0
    _, numbered = cv2.connectedComponents(defect.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    owner = numbered[defect] - 1
    inside = scores[defect]
    sizes = np.bincount(owner)
    order, ends = _by_region(inside, owner, sizes)
    return Regions(defect, (1 / sizes)[owner], inside[order[ends - 1 - sizes // 2]])


def channel_regions(scores: Numbers, channels: Numbers, saturations: Sequence[float]) -> Regions:
    """One region for each of the (C, H, W) ``channels``, which may overlap; ``saturations`` (C,) in pixels.

    A pixel in two channels is one pixel in all other metrics and counts towards both here. Raises ``ValueError`` for an
    empty channel, and for a saturation that is not above 0 and at most the channel's area.
    """
    marked = channels != 0
    sizes = marked.sum(axis=(1, 2))
    for channel, (size, saturation) in enumerate(zip(sizes.tolist(), saturations, strict=True)):
        if not 0 < saturation <= size:
            raise ValueError(
                f"channel {channel} has {size} pixels but saturates at {saturation}; that must be above 0 and at most "
                "its area (see saturation_px)"
            )
    owner, pixels = np.nonzero(marked.reshape(len(marked), scores.size))
    inside = scores.reshape(-1)[pixels]
    order, ends = _by_region(inside, owner, sizes)
    rank = ends[owner[order]] - 1 - np.arange(owner.size)
    full = np.asarray(saturations, np.float64)[owner[order]]
    weights = np.bincount(pixels[order], weights=np.clip(full - rank, 0, 1) / full, minlength=scores.size)
    defect = marked.any(axis=0)
    return Regions(defect, weights[defect.reshape(-1)], inside[order[ends - 1 - sizes // 2]])


def saturation_px(area: int, threshold: float, relative: bool) -> int:
    """Pixels of a region of ``area`` that must be found, by an entry of LOCO's ``defects_config.json``.

    ``threshold`` is a share of the area, rounded down, where ``relative``, and else a number of pixels, at most the
    area. At least 1. Raises ``ValueError`` for a threshold that is not above 0, or a share above 1.
    """
    if threshold <= 0 or (relative and threshold > 1):
        raise ValueError(f"saturation threshold is {threshold}; it must be above 0" + ", at most 1" * relative)
    return max(1, int(threshold * area) if relative else min(int(threshold), area))


def _by_region(inside: Numbers, owner: Numbers, sizes: Numbers) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(order by region with scores ascending in each, where each region ends in it)."""
    order = np.lexsort((inside, owner))
    return order, np.cumsum(sizes)
