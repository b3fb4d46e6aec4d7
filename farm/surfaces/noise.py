"""Seeded noise fields, quick enough to draw a surface in a few milliseconds.

Every field is float32 (size_px, size_px). Unless said otherwise it has zero mean and unit standard deviation.
Lengths are given as *cells*: how many features fit across the image, so a field keeps its look at any size.
Angles are radians from the x axis (columns) towards the y axis (rows, pointing down).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from scipy import fft

cv2.setNumThreads(1)

_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


@lru_cache(maxsize=16)
def grid(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Read-only x and y of every pixel centre, 0..1 across the image."""
    axis = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px
    x, y = np.meshgrid(axis, axis)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def along(size_px: int, angle_rad: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a direction, zero at the image centre, one image side per unit."""
    x, y = grid(size_px)
    cos, sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    u, v = x - np.float32(0.5), y - np.float32(0.5)
    return cos * u + sin * v, cos * v - sin * u


def smoothstep(field: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, a smooth ramp between (``low`` > ``high`` turns it over)."""
    t = np.clip((field - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def standard(field: np.ndarray) -> np.ndarray:
    """The field shifted and scaled to zero mean and unit standard deviation."""
    mean, deviation = cv2.meanStdDev(np.ascontiguousarray(field, np.float32))
    scale = np.float32(1 / (float(deviation[0, 0]) + 1e-6))
    return np.asarray((field - np.float32(mean[0, 0])) * scale, np.float32)


def white(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Independent normal values, one a pixel."""
    return rng.standard_normal((size_px, size_px), np.float32)


def value(rng: np.random.Generator, size_px: int, cells: float) -> np.ndarray:
    """Smooth noise with about ``cells`` bumps across the image (a random grid, enlarged cubically)."""
    side = int(np.ceil(min(cells, size_px))) + 3
    knots = rng.standard_normal((side, side), np.float32)
    return _enlarged(rng, knots, size_px, min(cells, size_px))


def _enlarged(rng: np.random.Generator, knots: np.ndarray, size_px: int, cells: float) -> np.ndarray:
    shift_x, shift_y = rng.random(2)
    step = cells / size_px
    matrix = np.array([[step, 0, 1 + shift_x * 0.99], [0, step, 1 + shift_y * 0.99]], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return standard(cv2.warpAffine(knots, matrix, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REFLECT_101))


def fractal(rng: np.random.Generator, size_px: int, cells: float, octaves: int = 4, gain: float = 0.5) -> np.ndarray:
    """Isotropic noise with structure at ``octaves`` scales from ``cells`` up, each ``gain`` times as strong."""
    total = np.zeros((size_px, size_px), np.float32)
    for octave in range(octaves):
        if octave and cells * 2**octave > size_px:
            break
        total += np.float32(gain**octave) * value(rng, size_px, cells * 2**octave)
    return standard(total)


@lru_cache(maxsize=16)
def _frequencies(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    fx = fft.rfftfreq(size_px, 1 / size_px).astype(np.float32)[None, :]
    fy = fft.fftfreq(size_px, 1 / size_px).astype(np.float32)[:, None]
    return fx, fy


def spectral(
    rng: np.random.Generator,
    size_px: int,
    cells: float,
    angle_rad: float = 0.0,
    stretch: float = 1.0,
    slope: float = 2.0,
) -> np.ndarray:
    """Noise with power above ``cells`` falling as frequency^-slope, drawn out ``stretch`` times along a direction.

    ``slope`` 2 is cloudy, 1 grainy, 6 nearly one scale. The field wraps at the borders.
    """
    fx, fy = _frequencies(size_px)
    cos, sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    radius2 = ((fx * cos + fy * sin) * np.float32(stretch)) ** 2 + (fy * cos - fx * sin) ** 2
    gain = (1 + radius2 / np.float32(cells * cells)) ** np.float32(-slope / 2)
    gain[0, 0] = 0
    spectrum = fft.rfft2(white(rng, size_px)) * gain
    return standard(fft.irfft2(spectrum, s=(size_px, size_px)))


def streaks(
    rng: np.random.Generator, size_px: int, cells: float, angle_rad: float = 0.0, length: float = 1.0
) -> np.ndarray:
    """Fine parallel lines along a direction: ``cells`` lines across, each about ``length`` image sides long."""
    return spectral(rng, size_px, cells, angle_rad, stretch=max(1.0, cells * length), slope=3.0)


def band(rng: np.random.Generator, size_px: int, cells: float, width: float = 0.25) -> np.ndarray:
    """Noise of one scale: a ring of frequencies around ``cells``, ``width`` of it wide (grain of leather, mottle)."""
    fx, fy = _frequencies(size_px)
    radius = np.sqrt(fx * fx + fy * fy)
    gain = np.exp(-0.5 * ((radius - np.float32(cells)) / np.float32(cells * width)) ** 2)
    return standard(fft.irfft2(fft.rfft2(white(rng, size_px)) * gain, s=(size_px, size_px)))


def worley(
    rng: np.random.Generator, size_px: int, cells: float, jitter: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances to the nearest and second nearest of scattered points, and a random 0..1 value per nearest point.

    Distances are in cells (1 = the mean spacing); the border between two cells is where they are equal.
    """
    side = int(np.ceil(cells)) + 4
    points = np.float32(0.5) + np.float32(jitter) * (rng.random((side, side, 2), np.float32) - np.float32(0.5))
    shade = rng.random((side, side), np.float32)
    points_x = (points[..., 0] + np.arange(side, dtype=np.float32)).ravel()
    points_y = (points[..., 1] + np.arange(side, dtype=np.float32)[:, None]).ravel()
    x, y = grid(size_px)
    shift_x, shift_y = rng.random(2, np.float32)
    x, y = x * np.float32(cells) + shift_x + 1, y * np.float32(cells) + shift_y + 1
    site = y.astype(np.intp) * side + x.astype(np.intp)
    first = np.full((size_px, size_px), 9, np.float32)
    second, owner = first.copy(), site
    for dy, dx in _NEIGHBOURS:
        index = site + (dy * side + dx)
        away_x, away_y = points_x.take(index) - x, points_y.take(index) - y
        distance = away_x * away_x + away_y * away_y
        owner = np.where(distance < first, index, owner)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    return np.sqrt(first), np.sqrt(second), shade.ravel().take(owner)


def warp(field: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The field read ``dx``, ``dy`` image sides away from each pixel (mirrored at the borders)."""
    size_px = field.shape[0]
    x, y = grid(size_px)
    map_x = np.asarray((x + dx) * size_px - 0.5, np.float32)
    map_y = np.asarray((y + dy) * size_px - 0.5, np.float32)
    return np.asarray(cv2.remap(field, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def blur(field: np.ndarray, sigma: float) -> np.ndarray:
    """The field under a Gaussian of ``sigma`` image sides."""
    sigma_px = sigma * field.shape[0]
    if sigma_px < 0.2:
        return field
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101))
