"""Where a defect can be: soft outlines drawn by a seed.

Every shape is float32 (size_px, size_px) in 0..1, the share of each pixel that it covers. Positions and lengths are
in image sides (0..1, x then y, y down), as in ``farm.surfaces.noise``, so a shape looks the same at any size; edges
are never sharper than a pixel. Angles are radians from x towards y.
"""

from __future__ import annotations

import cv2
import numpy as np

from farm.surfaces.noise import fractal, grid, smoothstep, value

Point = tuple[float, float]
SHIFT = 4  # fractional bits of the coordinates given to cv2


def ribbon(size_px: int, path: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """A line along ``path`` (N, 2) whose width (N,) or scalar may change on the way and be thinner than a pixel."""
    fine = 4 if size_px <= 256 else 2
    side_px = size_px * fine
    half = np.broadcast_to(np.asarray(width, np.float64) / 2, (len(path),))
    half = np.maximum(half - 0.5 / side_px, 0)  # cv2 fills half a fine pixel beyond the outline
    normal = _normals(path) * half[:, None]
    quads = np.stack(
        [path[:-1] + normal[:-1], path[1:] + normal[1:], path[1:] - normal[1:], path[:-1] - normal[:-1]], 1
    )
    canvas = np.zeros((side_px, side_px), np.uint8)
    for quad in np.rint((quads * side_px - 0.5) * 2**SHIFT).astype(np.int32):
        cv2.fillConvexPoly(canvas, quad, 255, cv2.LINE_8, SHIFT)
    cover = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(cover, np.float32) / np.float32(255)


def _normals(path: np.ndarray) -> np.ndarray:
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    return np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)


def curve(
    rng: np.random.Generator, middle: Point, angle: float, length: float, bend: float = 0.3, wander: float = 0.0
) -> np.ndarray:
    """A path (N, 2) through ``middle`` that turns by about ``bend`` radians and shivers by ``wander`` a step."""
    count = int(np.clip(length * 60, 8, 48))
    turn = np.linspace(-0.5, 0.5, count) * rng.normal(0, bend) + np.cumsum(rng.normal(0, wander, count))
    heading = angle + turn - turn.mean()
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / count)
    path = np.cumsum(steps, axis=0)
    return path - path[count // 2] + np.asarray(middle)


def taper(rng: np.random.Generator, count: int, width: float, uneven: float = 0.3) -> np.ndarray:
    """Widths (count,) of a stroke that starts and ends thin and varies by a share ``uneven`` on the way."""
    t = np.linspace(0, 1, count)
    ends = np.minimum(1, np.minimum(t, 1 - t) * rng.uniform(4, 16) + 0.15)
    knots = rng.normal(0, uneven, max(4, count // 4))
    wave = np.interp(t, np.linspace(0, 1, len(knots)), knots)
    return np.asarray(width * ends * np.clip(1 + wave, 0.3, 2.0))


def jagged(rng: np.random.Generator, start: Point, end: Point, rough: float, levels: int = 5) -> np.ndarray:
    """A path (2^levels + 1, 2) by midpoint displacement; ``rough`` is the first offset per length."""
    path = np.array([start, end], np.float64)
    offset = rough * float(np.hypot(*(path[1] - path[0])))
    for _ in range(levels):
        middle = (path[:-1] + path[1:]) / 2 + _normals(path)[:-1] * rng.normal(0, offset, (len(path) - 1, 1))
        joined = np.empty((2 * len(path) - 1, 2))
        joined[::2], joined[1::2] = path, middle
        path, offset = joined, offset * 0.55
    return path


def crack(
    rng: np.random.Generator,
    size_px: int,
    start: Point,
    angle: float,
    length: float,
    width: float,
    branches: int = 2,
    rough: float | None = None,
) -> np.ndarray:
    """A jagged line that thins out from ``start`` and throws ``branches`` thinner ones off its sides."""
    end = (start[0] + length * np.cos(angle), start[1] + length * np.sin(angle))
    trunk = jagged(rng, start, end, rng.uniform(0.05, 0.16) if rough is None else rough)
    thin = np.linspace(1, rng.uniform(0.2, 0.6), len(trunk)) * np.clip(1 + rng.normal(0, 0.25, len(trunk)), 0.4, 2)
    cover = ribbon(size_px, trunk, width * thin)
    for _ in range(branches):
        root = trunk[rng.integers(len(trunk) // 6, len(trunk) - 2)]
        away = angle + rng.choice((-1, 1)) * rng.uniform(0.4, 1.2)
        reach = length * rng.uniform(0.15, 0.45)
        tip = (root[0] + reach * np.cos(away), root[1] + reach * np.sin(away))
        twig = jagged(rng, (root[0], root[1]), tip, rng.uniform(0.06, 0.18), levels=4)
        cover = np.maximum(cover, ribbon(size_px, twig, width * np.linspace(0.7, 0.15, len(twig))))
    return cover


def mound(
    rng: np.random.Generator, size_px: int, middle: Point, radius: float, stretch: float, angle: float, rough: float
) -> np.ndarray:
    """A field that is 1 at ``middle``, 0 on a deformed ellipse and negative beyond: the stuff blobs are cut from.

    ``stretch`` is the long axis over the short one (the area stays), ``rough`` how far the outline wanders.
    """
    x, y = grid(size_px)
    u, v = x - np.float32(middle[0]), y - np.float32(middle[1])
    cos, sin, root = np.cos(angle), np.sin(angle), np.sqrt(stretch)
    p = (u * np.float32(cos) + v * np.float32(sin)) * np.float32(1 / (radius * root))
    q = (v * np.float32(cos) - u * np.float32(sin)) * np.float32(root / radius)
    field = 1 - np.sqrt(p * p + q * q)
    if rough > 0:
        field += np.float32(rough) * fractal(rng, size_px, min(0.45 / radius, size_px / 4), octaves=4, gain=0.6)
    return np.asarray(field, np.float32)


def cut(field: np.ndarray, radius: float, soft: float = 0.0) -> np.ndarray:
    """The inside of a mound of ``radius``, its edge ``soft`` of the radius wide (one pixel at least)."""
    edge = max(soft, 1.0 / (radius * field.shape[0]))
    return smoothstep(field, -edge / 2, edge / 2)


def blob(
    rng: np.random.Generator,
    size_px: int,
    middle: Point,
    radius: float,
    stretch: float = 1.0,
    angle: float = 0.0,
    rough: float = 0.2,
    soft: float = 0.0,
) -> np.ndarray:
    """A noise-deformed ellipse of about ``pi * radius ** 2``."""
    return cut(mound(rng, size_px, middle, radius, stretch, angle, rough), radius, soft)


def rim(field: np.ndarray, at: float, thickness: float) -> np.ndarray:
    """A soft line of about ``thickness`` where a field passes through ``at``: coffee rings, raised edges."""
    return np.exp(-(((field - np.float32(at)) / np.float32(thickness)) ** 2))


def discs(size_px: int, middles: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Round spots at ``middles`` (N, 2) with ``radii`` (N,), exact to a fraction of a pixel."""
    fine = 4 if size_px <= 256 else 2
    canvas = np.zeros((size_px * fine, size_px * fine), np.uint8)
    centres = np.rint((middles * size_px * fine - 0.5) * 2**SHIFT).astype(np.int32)
    sizes = np.rint(radii * size_px * fine * 2**SHIFT).astype(np.int32)
    for (x, y), radius in zip(centres.tolist(), sizes.tolist(), strict=True):
        cv2.circle(canvas, (x, y), radius, 255, -1, cv2.LINE_8, SHIFT)
    cover = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(cover, np.float32) / np.float32(255)


def spots(
    rng: np.random.Generator, size_px: int, middle: Point, spread: float, count: int, radius: float
) -> np.ndarray:
    """A cluster of ``count`` small spots, denser towards ``middle``, each a little out of round."""
    middles = np.asarray(middle) + rng.normal(0, spread / 2, (count, 2))
    radii = radius * np.exp(rng.normal(0, 0.45, count))
    cover = discs(size_px, middles, radii)
    if radius * size_px < 1.2:
        return cover
    shake = 0.35 * value(rng, size_px, min(0.8 / radius, size_px / 2))
    return smoothstep(cover + shake * (cover > 0), 0.25, 0.75)


def droplets(rng: np.random.Generator, size_px: int, middle: Point, radius: float, angle: float) -> np.ndarray:
    """A splash: one drop of ``radius`` and smaller ones thrown along ``angle``, smaller the farther they flew."""
    count = int(rng.integers(4, 16))
    flight = rng.gamma(2.0, 1.3 * radius, count)
    heading = angle + rng.normal(0, 0.5, count)
    middles = np.asarray(middle) + np.stack([flight * np.cos(heading), flight * np.sin(heading)], axis=1)
    radii = radius * np.clip(0.6 * rng.random(count) * radius / (flight + 0.3 * radius), 0.08, 0.7)
    body = blob(rng, size_px, middle, radius, rng.uniform(1, 1.5), angle, 0.08)
    return np.maximum(body, discs(size_px, middles, radii))


def polygon(rng: np.random.Generator, size_px: int, middle: Point, radius: float, corners: int) -> np.ndarray:
    """A flat chip with ``corners`` corners about ``radius`` from its middle."""
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
    turn = turn[0] + 0.6 * (np.linspace(0, 2 * np.pi, corners, endpoint=False)) + 0.4 * (turn - turn[0])
    reach = radius * rng.uniform(0.6, 1.25, corners)
    corner = np.asarray(middle) + np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1)
    fine = 4 if size_px <= 256 else 2
    canvas = np.zeros((size_px * fine, size_px * fine), np.uint8)
    cv2.fillPoly(canvas, [np.rint((corner * size_px * fine - 0.5) * 2**SHIFT).astype(np.int32)], 255, cv2.LINE_8, SHIFT)
    cover = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(cover, np.float32) / np.float32(255)


def stripe(
    rng: np.random.Generator, size_px: int, middle: Point, angle: float, width: float, rough: float
) -> np.ndarray:
    """A band right across the image through ``middle``, its edges wandering by ``rough`` widths."""
    x, y = grid(size_px)
    across = (y - np.float32(middle[1])) * np.float32(np.cos(angle)) - (x - np.float32(middle[0])) * np.float32(
        np.sin(angle)
    )
    field = np.float32(0.5) - np.abs(across) / np.float32(width)
    field += np.float32(rough) * fractal(rng, size_px, min(0.5 / width, size_px / 4), octaves=3)
    return cut(field, width)


def border_bite(rng: np.random.Generator, size_px: int, depth: float, length: float, rough: float) -> np.ndarray:
    """A ragged piece of the image border, ``length`` along one side and ``depth`` into the image."""
    at, side = rng.uniform(0.1, 0.9), int(rng.integers(4))
    middle = ((at, 0.0), (at, 1.0), (0.0, at), (1.0, at))[side]
    angle = 0.0 if side < 2 else np.pi / 2
    radius = float(np.sqrt(depth * length / 2))
    return blob(rng, size_px, middle, radius, max(length / 2 / depth, 0.3), angle, rough)
