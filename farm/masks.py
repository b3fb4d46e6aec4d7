"""Target masks: where a defect is to appear. Every one is non-empty, inside the foreground and of the size asked for.

    perlin       thresholded Perlin noise, constants of DRAEM as in card 000 section 4
    procedural   an outline of ``farm.surfaces.defects.masks``: scratch, crack, blob, spots, ...
    real         the mask of a few-shot photograph, turned, scaled and moved

A draw that does not fit is drawn again, ``TRIES`` times at most; then the last one is cut down or grown to fit.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from farm.config import Masks
from farm.distance import distance_px
from farm.errors import ConfigError, DataError
from farm.foreground import Mask, foreground
from farm.ids import generator
from farm.images import Pixels, resize_mask

__all__ = ["foreground", "perlin", "perlin_noise", "target_mask"]

Draw = Callable[[np.random.Generator], Mask]

TRIES = 12
PERLIN_OCTAVES = 6  # scale 2^U{0..5} on each axis
PERLIN_THRESHOLD = 0.5
PERLIN_TURN_DEG = 90.0
REAL_TURN_DEG = 45.0
REAL_SCALE = (0.85, 1.15)
REAL_KEPT = 0.9  # share of a moved mask that must lie inside the foreground


def target_mask(
    kind: str,
    seed: int,
    size_px: int,
    settings: Masks,
    part: Mask | None = None,
    shot_masks: Sequence[Pixels] = (),
) -> Pixels:
    """uint8 (size_px, size_px) in {0, 1}: a mask of ``kind`` that depends on ``seed`` alone.

    It lies inside ``part`` (bool (size_px, size_px), the foreground; None or empty = everywhere), and its area is
    within [min_area, max_area] of the image wherever the part has room for that. ``shot_masks`` are (H, W) in {0, 1},
    of any size. Raises ``DataError`` for kind ``real`` without any, ``ConfigError`` for a kind that is not known.
    """
    allowed = np.ones((size_px, size_px), bool) if part is None else np.asarray(part, bool)
    if not allowed.any():
        allowed = np.ones((size_px, size_px), bool)
    least = max(1, math.ceil(settings.min_area * size_px**2))
    most = max(least, math.floor(settings.max_area * size_px**2))
    rng = generator(seed, f"target_mask/{kind}")
    draw = _drawer(kind, size_px, allowed, shot_masks, most)
    best = np.zeros_like(allowed)
    for _ in range(TRIES):
        mask = draw(rng) & allowed
        if least <= mask.sum() <= most:
            return mask.astype(np.uint8)
        best = mask if mask.any() else best
    return _fitted(best, allowed, least, most, rng).astype(np.uint8)


def perlin(rng: np.random.Generator, size_px: int) -> Pixels:
    """uint8 (size_px, size_px) in {0, 1}: Perlin noise above 0.5, scale 2^U{0..5} per axis, turned by U(-90, 90).

    May be empty, as in DRAEM (Zavrtanik et al. 2021), where such a draw is a normal sample.
    """
    cells = 2 ** rng.integers(0, PERLIN_OCTAVES, 2)
    noise = perlin_noise(rng, size_px, int(cells[0]), int(cells[1]))
    middle = ((size_px - 1) / 2, (size_px - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, float(rng.uniform(-PERLIN_TURN_DEG, PERLIN_TURN_DEG)), 1.0)
    turned = cv2.warpAffine(noise, turn, (size_px, size_px), flags=cv2.INTER_LINEAR, borderValue=0.0)
    return (turned > PERLIN_THRESHOLD).astype(np.uint8)


def perlin_noise(rng: np.random.Generator, size_px: int, rows: int, columns: int) -> npt.NDArray[np.float32]:
    """float32 (size_px, size_px) gradient noise of ``rows`` x ``columns`` cells, times sqrt(2): about -1 to 1."""
    angle = rng.uniform(0, 2 * np.pi, (rows + 1, columns + 1)).astype(np.float32)
    row, v, fade_v = _cells(size_px, rows)
    column, u, fade_u = _cells(size_px, columns)
    v, fade_v = v[:, None], fade_v[:, None]
    slopes = np.sin(angle), np.cos(angle)

    def corner(down: int, right: int) -> npt.NDArray[np.float32]:
        slope_y, slope_x = (slope.take(column + right, 1).take(row + down, 0) for slope in slopes)
        return np.asarray(slope_y * (v - down) + slope_x * (u - right), np.float32)

    top = corner(0, 0) + fade_u * (corner(0, 1) - corner(0, 0))
    bottom = corner(1, 0) + fade_u * (corner(1, 1) - corner(1, 0))
    return np.asarray(np.float32(math.sqrt(2)) * (top + fade_v * (bottom - top)), np.float32)


def _drawer(kind: str, size_px: int, allowed: Mask, shot_masks: Sequence[Pixels], most: int) -> Draw:
    if kind == "perlin":
        return lambda rng: perlin(rng, size_px) > 0
    if kind == "procedural":
        from farm.surfaces.defects.masks import mask_shape

        return lambda rng: np.asarray(mask_shape(rng, size_px, allowed), bool)
    if kind == "real":
        shots = [resize_mask(mask, size_px) for mask in shot_masks if mask.any()]
        if not shots:
            raise DataError("mask kind 'real': there is no few-shot mask to copy; remove 'real' from masks.kinds")
        return lambda rng: _moved(shots[int(rng.integers(len(shots)))], allowed, most, rng)
    raise ConfigError(f"mask kind '{kind}' is not known; use perlin, procedural or real")


def _moved(shot: Pixels, allowed: Mask, most: int, rng: np.random.Generator) -> Mask:
    """A few-shot mask turned, scaled and put on a random place of the part; after half the tries ever smaller."""
    places = np.argwhere(allowed)
    rows, columns = np.nonzero(shot)
    middle = (float(columns.min() + columns.max()) / 2, float(rows.min() + rows.max()) / 2)
    shrink = min(1.0, math.sqrt(0.9 * most / REAL_SCALE[1] ** 2 / len(rows)))
    moved = np.zeros_like(allowed)
    for attempt in range(TRIES):
        scale = float(rng.uniform(*REAL_SCALE)) * shrink * 0.8 ** max(0, attempt - TRIES // 2 + 1)
        turn = cv2.getRotationMatrix2D(middle, float(rng.uniform(-REAL_TURN_DEG, REAL_TURN_DEG)), scale)
        place = places[int(rng.integers(len(places)))]
        turn[:, 2] += (place[1] - middle[0], place[0] - middle[1])
        share = cv2.warpAffine(shot.astype(np.float32), turn, shot.shape[::-1], flags=cv2.INTER_LINEAR)
        moved = (share >= 0.5) & allowed
        if moved.sum() >= REAL_KEPT * scale**2 * len(rows):
            break
    return moved


def _fitted(mask: Mask, allowed: Mask, least: int, most: int, rng: np.random.Generator) -> Mask:
    """``mask`` with an area in [least, most]: cut to what is nearest to one of its pixels, or grown inside the part."""
    if not mask.any():
        mask = np.zeros_like(allowed)
        mask.flat[rng.choice(np.flatnonzero(allowed))] = True
    area = int(mask.sum())
    if area > most:
        rows, columns = np.nonzero(mask)
        pick = int(rng.integers(area))
        distance = (rows - rows[pick]) ** 2 + (columns - columns[pick]) ** 2
        return _nearest(mask, distance.astype(np.float32), most)
    if area < least:
        away = distance_px(~mask)
        return _nearest(allowed, away[allowed], least)
    return mask


def _nearest(among: Mask, distance: npt.NDArray[np.float32], count: int) -> Mask:
    """The ``count`` pixels of ``among`` with the smallest distance, ties in reading order."""
    chosen = np.flatnonzero(among)[np.argsort(distance, kind="stable")[:count]]
    mask = np.zeros(among.size, bool)
    mask[chosen] = True
    return mask.reshape(among.shape)


@lru_cache(maxsize=64)
def _cells(size_px: int, count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """For each pixel along an axis: its cell, its place in the cell, 0 to 1, and the fade there; all read-only."""
    place = np.arange(size_px) * count / size_px
    cell = np.minimum(place.astype(np.intp), count - 1)
    within = (place - cell).astype(np.float32)
    axes = cell, within, _fade(within)
    for axis in axes:
        axis.flags.writeable = False
    return axes


def _fade(t: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(6 * t**5 - 15 * t**4 + 10 * t**3, np.float32)
