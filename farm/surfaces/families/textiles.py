"""Textiles and leather: woven, knitted, felted."""

from __future__ import annotations

import math

import numpy as np

from farm.surfaces import noise
from farm.surfaces.colour import any_colour, grey, mixed, shaded, tint
from farm.surfaces.families.build import direction, grime, log_uniform, material, pick
from farm.surfaces.material import Material

# thread on top runs along u where (column // block + step * (row // block)) % period < over
_WEAVES = {"plain": (1, 1, 2, 1), "twill": (1, 1, 4, 2), "satin": (1, 2, 5, 4), "basket": (2, 1, 2, 1)}


def woven_fabric(rng: np.random.Generator, size_px: int) -> Material:
    """Cloth of crossing threads in plain, twill, satin or basket weave."""
    angle = direction(rng)
    u, v = noise.along(size_px, angle)
    sway = rng.uniform(0, 0.006)
    u = u + sway * noise.value(rng, size_px, 4)
    v = v + sway * noise.value(rng, size_px, 4)
    threads = log_uniform(rng, 10, 34)
    height, along_u, row, column = _weave(rng, u * threads + 100, v * threads + 100)
    first = any_colour(rng, (0.25, 0.95)) if rng.random() < 0.6 else grey(rng, (0.25, 0.95), 0.12)
    second = first * rng.uniform(0.6, 1.0) if rng.random() < 0.6 else any_colour(rng, (0.2, 0.9))
    thread = np.where(along_u, _per_thread(rng, row), _per_thread(rng, column))
    fibre = noise.spectral(rng, size_px, threads * 2, slope=1.5)
    factor = (0.55 + 0.45 * height) * (1 + rng.uniform(0.02, 0.12) * thread + 0.07 * fibre)
    factor = factor * grime(rng, size_px, 2, 0.15)
    relief = height * (45 / threads) * rng.uniform(0.5, 1.2) + 0.1 * fibre
    phrase = pick(rng, "woven fabric", "woven fabric", "woven cloth", "a woven textile")
    albedo = mixed(first, second, ~along_u) * factor[..., None]
    return material(albedo, relief, rng.uniform(0, 0.12), "woven_fabric", phrase, angle)


def _weave(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Height 0..1 of a weave, whether the u thread is on top, and the thread numbers."""
    block, step, period, over = _WEAVES[pick(rng, "plain", "plain", "twill", "twill", "satin", "basket")]
    column, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    along_u = (column // block + step * (row // block)) % period < over
    across = np.where(along_u, v - row, u - column)
    lengthwise = np.where(along_u, u - column, v - row)
    crown = np.sin(np.pi * across)
    height = crown * (0.75 + 0.25 * np.sin(np.pi * lengthwise))
    return height.astype(np.float32), along_u, row, column


def _per_thread(rng: np.random.Generator, index: np.ndarray) -> np.ndarray:
    """One random level for each thread number."""
    return rng.standard_normal(256, np.float32)[index % 256]


def knitted_fabric(rng: np.random.Generator, size_px: int) -> Material:
    """Jersey: columns of V-shaped stitches."""
    angle = direction(rng, upright=0.8)
    u, v = noise.along(size_px, angle)
    sway = rng.uniform(0.001, 0.008)
    u = u + sway * noise.value(rng, size_px, 5) + 5
    v = v + sway * noise.value(rng, size_px, 5) + 5
    wales = log_uniform(rng, 7, 20)
    courses = wales * rng.uniform(1.0, 1.5)
    column = u * wales
    side = np.abs(2 * (column - np.floor(column)) - 1)  # 1 between wales, 0 on the spine of the V
    phase = v * courses - rng.uniform(0.5, 1.0) * side
    saw = phase - np.floor(phase)
    leg = np.sin(np.pi * saw) * np.sqrt(np.maximum(1 - (1.9 * (side - 0.5)) ** 2, 0))
    colour = any_colour(rng, (0.2, 0.9)) if rng.random() < 0.7 else grey(rng, (0.2, 0.95), 0.1)
    course = _per_thread(rng, np.floor(phase).astype(np.int32))
    fibre = noise.spectral(rng, size_px, wales * 4, slope=1.2)
    factor = (0.35 + 0.65 * leg) * (1 + rng.uniform(0.02, 0.1) * course + 0.08 * fibre)
    if rng.random() < 0.25:
        stripes = np.floor(phase / rng.integers(2, 6)).astype(np.int32) % 2 == 0
        albedo = mixed(colour, any_colour(rng), stripes) * factor[..., None]
    else:
        albedo = colour * factor[..., None]
    relief = (leg * 40 / wales + 0.25 * fibre) * rng.uniform(0.4, 1)
    phrase = pick(rng, "knitted fabric", "knitted fabric", "a knitted textile")
    return material(albedo, relief, 0.02, "knitted_fabric", phrase, angle)


def felt_textile(rng: np.random.Generator, size_px: int) -> Material:
    """A fibrous stochastic textile: short oblique dashes at random, most often grey."""
    angle = rng.normal(-0.6, 0.25) if rng.random() < 0.6 else rng.uniform(0, math.pi)
    cells, stretch = log_uniform(rng, 14, 64), rng.uniform(1.5, 5)
    fibres = noise.spectral(rng, size_px, cells, angle, stretch, slope=rng.uniform(1.8, 4))
    coarse = noise.spectral(rng, size_px, cells / 3, angle, stretch / 2, slope=3)
    grain = noise.white(rng, size_px)
    plain = rng.random() < 0.6
    colour = grey(rng, (0.4, 0.72), 0.02) if plain else any_colour(rng, (0.25, 0.85))
    tone = fibres + rng.uniform(0.05, 0.4) * coarse + rng.uniform(0.0, 0.6) * grain
    factor = np.exp(log_uniform(rng, 0.15, 0.7) * tone) * 0.9
    relief = rng.uniform(0.0, 0.4) * fibres
    phrase = pick(rng, "felt", "felted textile", "grey textile" if plain else "felted textile", "fibrous textile")
    return material(shaded(colour, factor), relief, 0.0, "felt_textile", phrase, angle)


def leather(rng: np.random.Generator, size_px: int) -> Material:
    """Hide: pebbles parted by creases, pores, and slow changes of shade."""
    angle = rng.uniform(0, math.pi)
    cells = log_uniform(rng, 12, 34)
    near, next_near, shade = noise.worley(rng, size_px, cells, jitter=0.95)
    shift = 0.25 / cells
    dx, dy = shift * noise.value(rng, size_px, cells), shift * noise.value(rng, size_px, cells)
    crease = noise.warp(noise.smoothstep(next_near - near, 0.0, rng.uniform(0.25, 0.6)), dx, dy)
    wrinkle = noise.spectral(rng, size_px, 5, angle, stretch=3, slope=2.5)
    pores = noise.fractal(rng, size_px, cells * 2, octaves=2, gain=0.7)
    colour = tint(rng, (0.0, 0.1), (0.3, 0.8), (0.15, 0.65)) if rng.random() < 0.75 else any_colour(rng, (0.1, 0.8))
    factor = (0.72 + 0.28 * crease) * (1 + 0.05 * wrinkle + 0.05 * pores + 0.1 * (shade - 0.5))
    relief = rng.uniform(0.3, 1.1) * (crease * 30 / cells + 0.3 * pores) + 0.6 * wrinkle
    gloss = np.clip(rng.uniform(0.05, 0.35) * (0.5 + 0.5 * crease), 0, 1)
    phrase = pick(rng, "leather", "leather", "a leather hide", "grained leather")
    return material(shaded(colour, factor), relief, gloss, "leather", phrase, angle)
