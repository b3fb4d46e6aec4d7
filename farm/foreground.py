"""Where the product is on a photograph, estimated without learning: all of a texture, an object on its background."""

import cv2
import numpy as np
import numpy.typing as npt

from farm.images import Pixels

cv2.setNumThreads(1)

Mask = npt.NDArray[np.bool_]

BORDER_SHARE = 0.03  # width of the frame whose colour tells an object from its background
BORDER_SPREAD = 15.0  # largest median deviation from that colour, of 255, for a plain background
OBJECT_CONTRAST = 30.0  # least distance of an object from it
OBJECT_APART = 0.8  # least share of the variance that object against background explains; a bell curve has 0.64
OBJECT_SHARE = (0.05, 0.90)  # anything outside is taken for a texture
PIECE_SHARE = 0.15  # pieces smaller than this share of the largest are clutter


def foreground(image: Pixels) -> Mask:
    """bool (H, W): where the product is on ``image`` (H, W, 3), an estimate without learning.

    An object lies whole in the picture and differs from a background whose colour, told by the frame, is one plane
    over the picture (light may fall off). Where the frame is not plain, or there is no such object of a likely size,
    the picture is taken for a texture and all is True.
    """
    height, width = image.shape[:2]
    smooth = cv2.GaussianBlur(image, (0, 0), max(0.5, min(height, width) / 128)).astype(np.float32)
    frame = np.ones((height, width), bool)
    ring = max(1, round(BORDER_SHARE * min(height, width)))
    frame[ring:-ring, ring:-ring] = False
    away = np.abs(smooth - _background(smooth, frame)).max(axis=-1)
    differs, apart = _two_classes(away)
    if np.median(away[frame]) > BORDER_SPREAD or apart < OBJECT_APART:
        return np.ones((height, width), bool)
    part = _solid(differs, max(3, min(height, width) // 40 | 1))
    if not OBJECT_SHARE[0] <= part.mean() <= OBJECT_SHARE[1]:
        return np.ones((height, width), bool)
    return part


def _two_classes(away: npt.NDArray[np.float32]) -> tuple[Pixels, float]:
    """Otsu's split of ``away``: uint8 {0, 1} where it is large, and the share of its variance that the split explains.

    The share is 0 where one class is empty. (Otsu 1979, eq. 13 and 14.)
    """
    levels = np.clip(away, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    large = levels > max(threshold, OBJECT_CONTRAST)
    if large.all() or not large.any():
        return large.astype(np.uint8), 0.0
    share, step = float(large.mean()), float(away[large].mean() - away[~large].mean())
    return large.astype(np.uint8), share * (1 - share) * step**2 / float(away.var())


def _background(smooth: npt.NDArray[np.float32], frame: Mask) -> npt.NDArray[np.float32]:
    """float32 (H, W, 3): the plane through the frame's colours, channel by channel; what juts out is left aside."""
    rows, columns = np.indices(frame.shape, np.float32)
    plane = np.stack([np.ones_like(rows), rows / frame.shape[0] - 0.5, columns / frame.shape[1] - 0.5], axis=-1)
    points, colours = plane[frame], smooth[frame]
    kept = np.ones(len(points), bool)
    fit = np.zeros((3, 3), np.float32)
    for _ in range(3):
        fit = np.linalg.lstsq(points[kept], colours[kept], rcond=None)[0]
        away = np.abs(colours - points @ fit).max(axis=-1)
        kept = away <= 3 * np.median(away) + 1
    return np.asarray(plane @ fit, np.float32)


def _solid(differs: Pixels, kernel_px: int) -> Mask:
    """The larger pieces of ``differs`` that do not touch the picture's edge, gaps closed and holes filled."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_px, kernel_px))
    closed = cv2.morphologyEx(cv2.morphologyEx(differs, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = [outline for outline in outlines if _is_whole(outline, differs.shape)]
    least = PIECE_SHARE * max((cv2.contourArea(outline) for outline in whole), default=0.0)
    large = [outline for outline in whole if cv2.contourArea(outline) >= least]
    return np.asarray(cv2.drawContours(np.zeros_like(differs), large, -1, 1, cv2.FILLED), bool)


def _is_whole(outline: npt.NDArray[np.int32], shape: tuple[int, ...]) -> bool:
    x, y, width, height = cv2.boundingRect(outline)
    return bool(x > 0 and y > 0 and x + width < shape[1] and y + height < shape[0])
