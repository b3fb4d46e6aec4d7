"""The few strokes that all painters share: where to put a defect, and how to blend it into a map."""

from __future__ import annotations

import cv2
import numpy as np

from farm.surfaces.defects.shapes import Point
from farm.surfaces.material import Material

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def chance(rng: np.random.Generator, share: float) -> bool:
    """True in ``share`` of the draws."""
    return bool(rng.random() < share)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from ``low`` to ``high``, even in its logarithm: small sizes are as likely as large ones."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def place(material: Material, rng: np.random.Generator, inset: float = 0.04) -> Point:
    """A point of the foreground, ``inset`` image sides from its rim where the part is wide enough for that."""
    size_px = material.size_px
    if material.foreground.all():
        x, y = rng.uniform(inset, 1 - inset, 2)
        return float(x), float(y)
    framed = np.pad(material.foreground.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    inside = np.flatnonzero(depth >= min(inset * size_px, 0.6 * float(depth.max())))
    row, column = divmod(int(inside[rng.integers(len(inside))]), size_px)
    return (column + 0.5) / size_px, (row + 0.5) / size_px


def rim_point(material: Material, rng: np.random.Generator) -> tuple[Point, float]:
    """A point on the rim of the part (the image border where the part fills it) and the direction of the rim there."""
    size_px = material.size_px
    beyond = int(not material.foreground.all())  # with a background, the image border is no rim
    framed = np.pad(material.foreground.astype(np.uint8), 1, constant_values=beyond)
    inner = cv2.erode(framed, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    edge = np.flatnonzero(material.foreground & (inner == 0))
    row, column = divmod(int(edge[rng.integers(len(edge))]), size_px)
    soft = cv2.GaussianBlur(framed.astype(np.float32), (0, 0), max(1.5, size_px / 40), borderType=cv2.BORDER_REPLICATE)
    down = soft[row + 2, column + 1] - soft[row, column + 1]
    right = soft[row + 1, column + 2] - soft[row + 1, column]
    return ((column + 0.5) / size_px, (row + 0.5) / size_px), float(np.arctan2(right, -down))


def heading(material: Material, rng: np.random.Generator, aligned: float = 0.35) -> float:
    """A direction: along or across the grain in ``aligned`` of the draws, else any."""
    if chance(rng, aligned):
        return material.grain_rad + float(rng.choice((0.0, np.pi / 2))) + float(rng.normal(0, 0.06))
    return float(rng.uniform(0, np.pi))


def lay(material: Material, cover: np.ndarray, colour: np.ndarray) -> None:
    """Cover the albedo with a colour, (3,) or (H, W, 3), as far as ``cover`` (H, W) says."""
    material.albedo += (colour - material.albedo) * cover[..., None]


def filter_light(material: Material, cover: np.ndarray, factor: np.ndarray | float) -> None:
    """Multiply the albedo by ``factor``, a number or (3,), as far as ``cover`` says; stays in 0..1."""
    material.albedo *= 1 + (np.asarray(factor, np.float32) - 1) * cover[..., None]
    np.clip(material.albedo, 0, 0.98, out=material.albedo)


def polish(material: Material, cover: np.ndarray, gloss: float) -> None:
    """Move the gloss towards ``gloss`` as far as ``cover`` says."""
    material.gloss += (np.float32(gloss) - material.gloss) * cover


def mean_colour(material: Material) -> np.ndarray:
    """The average albedo (3,) of the part."""
    return np.asarray(material.albedo[material.foreground].mean(axis=0), np.float32)


def fresh(material: Material, rng: np.random.Generator) -> np.ndarray:
    """The colour (3,) of the part's inside where its skin is broken: mostly darker or paler than the skin."""
    skin = mean_colour(material)
    grey = np.float32(skin @ LUMA)
    pale = skin + (np.float32(rng.uniform(0.4, 0.9)) - skin) * np.float32(rng.uniform(0.3, 0.7))
    dark = (skin * np.float32(0.6) + grey * np.float32(0.4)) * np.float32(rng.uniform(0.15, 0.6))
    return np.asarray(pale if chance(rng, 0.45 if grey < 0.45 else 0.1) else dark, np.float32)


def nearest(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (H, W) of the pixel of ``where`` (bool, not empty) that is nearest to each pixel."""
    _, labels = cv2.distanceTransformWithLabels(
        (~where).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(where)
    row_of, column_of = np.zeros(labels.max() + 1, np.int32), np.zeros(labels.max() + 1, np.int32)
    row_of[labels[rows, columns]], column_of[labels[rows, columns]] = rows, columns
    return row_of[labels], column_of[labels]


def background_fill(material: Material) -> np.ndarray | None:
    """The albedo (H, W, 3) there would be with the part away: the background mirrored in; None if there is none."""
    clear = cv2.erode((~material.foreground).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if not clear.any():
        return None
    last = material.size_px - 1
    row, column = np.mgrid[: last + 1, : last + 1]
    near_row, near_column = nearest(clear)
    far_row, far_column = np.clip(2 * near_row - row, 0, last), np.clip(2 * near_column - column, 0, last)
    usable = clear[far_row, far_column]
    return material.albedo[np.where(usable, far_row, near_row), np.where(usable, far_column, near_column)]
