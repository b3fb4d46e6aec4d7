"""Faults of printed circuits: copper where none should be, and none where it should.

Every fault has a dual: an open is a short of the substrate, a mouse bite its spur, a pinhole its spurious copper.
"""

from __future__ import annotations

import cv2
import numpy as np

from farm.surfaces.defects import shapes
from farm.surfaces.defects.base import exact
from farm.surfaces.defects.brush import LUMA, between, chance, nearest
from farm.surfaces.material import Material
from farm.surfaces.noise import grid, smoothstep, value

_CROSS = np.ones((3, 3), np.uint8)


def copper_of(material: Material) -> np.ndarray:
    """Where the copper is, bool (H, W): the raised part of a board, the dark part of a bilevel scan."""
    if material.family == "pcb_mono":
        return np.asarray(material.albedo @ LUMA < 0.46)
    return np.asarray(material.height > 0.45)


@exact
def open_circuit(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A track that is interrupted."""
    return _bridge(material, rng, copper_of(material))


@exact
def short_circuit(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Two nets joined by copper."""
    return _bridge(material, rng, ~copper_of(material))


@exact
def spur(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Copper that sticks out of a track."""
    return _edge_blob(material, rng, ~copper_of(material))


@exact
def mousebite(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A piece nibbled out of the side of a track."""
    return _edge_blob(material, rng, copper_of(material))


@exact
def spurious_copper(material: Material, rng: np.random.Generator) -> np.ndarray:
    """An island of copper between the tracks."""
    return _island(material, rng, ~copper_of(material))


@exact
def pinhole(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A small hole within a copper area."""
    return _island(material, rng, copper_of(material))


def _depth(region: np.ndarray) -> np.ndarray:
    """Pixels from each pixel of a region to its edge; the image border is no edge."""
    return np.asarray(cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5))


def _pick(rng: np.random.Generator, candidates: np.ndarray, fallback: np.ndarray) -> tuple[int, int]:
    """Row and column of a random true pixel of ``candidates``, or of ``fallback`` where there is none."""
    found = np.flatnonzero(candidates)
    if len(found) == 0:
        found = np.flatnonzero(fallback)
    if len(found) == 0:
        found = np.arange(candidates.size)
    row, column = divmod(int(found[rng.integers(len(found))]), candidates.shape[1])
    return row, column


def _inner(region: np.ndarray, margin: float = 0.05) -> np.ndarray:
    """The region without the margin of the image, so that a fault is not half outside."""
    edge = max(1, round(margin * len(region)))
    inner = np.zeros_like(region)
    inner[edge:-edge, edge:-edge] = region[edge:-edge, edge:-edge]
    return inner


def _bridge(material: Material, rng: np.random.Generator, lost: np.ndarray) -> np.ndarray:
    """A band of the other class across a narrow part of ``lost``."""
    size_px = material.size_px
    depth = _depth(lost)
    ridge = _inner(lost) & (depth >= cv2.dilate(depth, _CROSS) - 0.25) & (depth > 0.8)
    narrow = ridge & (depth < max(2.5, 0.045 * size_px))
    row, column = _pick(rng, narrow, ridge)
    half = float(depth[row, column]) / size_px
    angle = _run_of(lost, row, column, max(3, round(2.5 * depth[row, column])))
    x, y = grid(size_px)
    u, v = x - np.float32((column + 0.5) / size_px), y - np.float32((row + 0.5) / size_px)
    tilt = angle + rng.normal(0, 0.2)
    along = np.float32(np.cos(tilt)) * u + np.float32(np.sin(tilt)) * v
    across = np.float32(np.cos(angle)) * v - np.float32(np.sin(angle)) * u
    gap = max(between(rng, 0.018, 0.07), 2.4 / size_px)
    ragged = np.float32(0.15 * gap) * value(rng, size_px, min(1.2 / gap, size_px / 3))
    waist = np.float32(rng.uniform(-0.25, 0.35)) * (np.abs(across) / np.float32(half + 1e-6)) ** 2
    edge = np.maximum(gap / 2 * (1 + waist) + ragged, 1.1 / size_px)
    band = smoothstep(edge - np.abs(along), -0.6 / size_px, 0.6 / size_px)
    return _swap(material, rng, band * (np.abs(across) < half * 1.6 + 2 / size_px), lost)


def _run_of(region: np.ndarray, row: int, column: int, reach: int) -> float:
    """The direction in which a region runs near a pixel: the long axis of its pixels in a window."""
    top, left = max(0, row - reach), max(0, column - reach)
    rows, columns = np.nonzero(region[top : row + reach + 1, left : column + reach + 1])
    if len(rows) < 3:
        return 0.0
    spread = np.cov(np.stack([columns, rows]).astype(np.float64))
    return float(0.5 * np.arctan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1]))


def _edge_blob(material: Material, rng: np.random.Generator, lost: np.ndarray) -> np.ndarray:
    """A blob of the other class that bites into ``lost`` from its edge."""
    size_px = material.size_px
    depth = _depth(lost)
    row, column = _pick(rng, _inner(lost & (depth < 1.5)), lost)
    radius = max(between(rng, 0.02, 0.05), 1.8 / size_px)
    along = _run_of(lost, row, column, max(2, round(radius * size_px)))
    middle = ((column + 0.5) / size_px, (row + 0.5) / size_px)
    turn = along + (np.pi / 2 if chance(rng, 0.6) else 0.0) + rng.normal(0, 0.3)
    return _swap(material, rng, shapes.blob(rng, size_px, middle, radius, rng.uniform(1, 2.2), turn, 0.25), lost)


def _island(material: Material, rng: np.random.Generator, lost: np.ndarray) -> np.ndarray:
    """A blob of the other class within ``lost``, clear of its edge where there is room."""
    size_px = material.size_px
    radius = max(between(rng, 0.018, 0.045), 1.6 / size_px)
    depth = _depth(lost)
    roomy = _inner(depth > 1.3 * radius * size_px + 1)
    row, column = _pick(rng, roomy, depth >= 0.8 * depth.max())
    radius = min(radius, max(0.7 * float(depth[row, column]), 1.6) / size_px)
    middle = ((column + 0.5) / size_px, (row + 0.5) / size_px)
    stretch, turn = between(rng, 1, 2.2), rng.uniform(0, np.pi)
    return _swap(material, rng, shapes.blob(rng, size_px, middle, radius, stretch, turn, 0.3), lost)


def _swap(material: Material, rng: np.random.Generator, cover: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Under ``cover``, give the pixels of ``lost`` the look of the other class next to them."""
    gained = ~lost
    sure = cv2.erode(gained.astype(np.uint8), _CROSS, iterations=2) > 0
    if not sure.any():
        sure = gained
    if not sure.any():
        return np.zeros(lost.shape, bool)
    cover = cover * (cv2.erode(gained.astype(np.uint8), _CROSS) == 0)  # leaves the far side of the edge as it is
    row, column = nearest(sure)
    shade = np.float32(rng.uniform(0.9, 1.1) if material.family != "pcb_mono" else 1)
    material.albedo += (np.clip(material.albedo[row, column] * shade, 0, 0.98) - material.albedo) * cover[..., None]
    material.height += (material.height[row, column] - material.height) * cover
    material.gloss += (material.gloss[row, column] - material.gloss) * cover
    return cover > 0.05
