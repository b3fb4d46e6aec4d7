"""Stone-like and vitreous surfaces: concrete, ceramic tile, granite, glass."""

from __future__ import annotations

import numpy as np

from farm.surfaces import noise
from farm.surfaces.colour import any_colour, grey, mixed, shaded, tint
from farm.surfaces.families.build import direction, grime, log_uniform, material, pick, specks
from farm.surfaces.material import Material


def concrete(rng: np.random.Generator, size_px: int) -> Material:
    """Cement: sand grain, air holes and blotches of damp."""
    colour = tint(rng, (0.06, 0.16), (0.0, 0.18), (0.4, 0.85))
    sand = noise.fractal(rng, size_px, log_uniform(rng, 16, 40), octaves=3, gain=0.9)
    blotch = noise.fractal(rng, size_px, 2.5, octaves=4, gain=0.6)
    holes = specks(rng, size_px, rng.uniform(9, 22), rng.uniform(0.02, 0.22))
    factor = (1 + rng.uniform(0.03, 0.1) * sand + rng.uniform(0.04, 0.16) * blotch) * (1 - 0.5 * holes)
    height = rng.uniform(0.15, 0.5) * sand + 0.4 * blotch - 1.5 * holes
    phrase = pick(rng, "concrete", "concrete", "a concrete wall", "cement")
    return material(shaded(colour, factor), height, 0.0, "concrete", phrase)


def ceramic_tile(rng: np.random.Generator, size_px: int) -> Material:
    """Glazed tile: plain, speckled or veined glaze, with or without joints in view."""
    colour = any_colour(rng, (0.3, 0.95)) if rng.random() < 0.5 else tint(rng, (0.05, 0.15), (0, 0.2), (0.6, 0.95))
    mottle = noise.fractal(rng, size_px, rng.uniform(2, 8), octaves=4, gain=0.6)
    albedo = shaded(colour, 1 + rng.uniform(0.01, 0.07) * mottle)
    style = pick(rng, "plain", "speckled", "veined", "plain")
    if style == "speckled":
        dots = specks(rng, size_px, log_uniform(rng, 14, 42), rng.uniform(0.1, 0.5))
        albedo = mixed(albedo, any_colour(rng), dots * rng.uniform(0.3, 0.9))
    elif style == "veined":
        vein = np.exp(-((mottle / rng.uniform(0.06, 0.2)) ** 2)) * noise.smoothstep(
            noise.value(rng, size_px, 3), -0.5, 1
        )
        albedo = mixed(albedo, colour * rng.uniform(0.3, 0.8), vein * 0.7)
    height = rng.uniform(0.1, 0.8) * noise.fractal(rng, size_px, 5, octaves=2)
    gloss = np.full((size_px, size_px), rng.uniform(0.5, 1.0), np.float32)
    if rng.random() < 0.6:
        joint = _joints(rng, size_px)
        albedo = mixed(albedo, grey(rng, (0.3, 0.85), 0.1) * (1 + 0.1 * mottle[..., None]), joint)
        height, gloss = height - 2.5 * joint, gloss * (1 - joint)
    return material(albedo, height, gloss, "ceramic_tile", pick(rng, "ceramic tile", "a ceramic tile", "glazed tile"))


def _joints(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """0..1 coverage by grout between tiles."""
    u, v = noise.along(size_px, direction(rng, upright=0.85))
    count = rng.uniform(0.9, 4)
    half = rng.uniform(0.006, 0.02)
    u, v = u + rng.random() / count, v + rng.random() / count
    row = np.floor(v * count)
    if rng.random() < 0.3:
        u = u + 0.5 * row / count
    to_u = np.abs(u * count - np.round(u * count)) / count
    to_v = np.abs(v * count - np.round(v * count)) / count
    ragged = 0.002 * noise.value(rng, size_px, 24)
    return noise.smoothstep(np.minimum(to_u, to_v) + ragged, half + 0.008, half)


def granite(rng: np.random.Generator, size_px: int) -> Material:
    """Polished stone: grains of three minerals at two scales."""
    cells = log_uniform(rng, 14, 40)
    _, _, coarse = noise.worley(rng, size_px, cells)
    fine = noise.fractal(rng, size_px, cells, octaves=3, gain=0.8)
    warm = tint(rng, (0.0, 0.12), (0.05, 0.4), (0.4, 0.8))
    light, dark = grey(rng, (0.6, 0.9), 0.08), grey(rng, (0.1, 0.35), 0.1)
    albedo = mixed(light, warm, noise.smoothstep(coarse + 0.15 * fine, 0.4, 0.6))
    albedo = mixed(albedo, dark, noise.smoothstep(fine + 1.5 * (coarse - 0.5), 0.8, 1.3))
    albedo = albedo * (1 + 0.05 * noise.white(rng, size_px))[..., None]
    phrase = pick(rng, "granite", "polished stone", "a stone slab")
    return material(albedo, 0.1 * fine, rng.uniform(0.1, 0.8), "granite", phrase)


def glass(rng: np.random.Generator, size_px: int) -> Material:
    """A pane before a blurred background: soft reflections, faint dust, little contrast."""
    x, y = noise.along(size_px, rng.uniform(0, 3.14))
    low, high = sorted(rng.uniform(0.15, 0.9, 2).tolist())
    back = mixed(
        tint(rng, (0.3, 0.65), (0.0, 0.4), (low, low)),
        tint(rng, (0.3, 0.65), (0.0, 0.3), (high, high)),
        noise.smoothstep(x + 0.15 * noise.value(rng, size_px, 2), -0.6, 0.6),
    )
    for _ in range(int(rng.integers(0, 4))):
        half, soft = rng.uniform(0.02, 0.15), rng.uniform(0.01, 0.12)
        bar = noise.smoothstep(np.abs(y + rng.uniform(-0.5, 0.5) + 0.2 * x * rng.normal()), half + soft, half)
        back = mixed(back, np.full(3, rng.uniform(0.3, 0.95), np.float32), bar * rng.uniform(0.05, 0.4))
    dust = specks(rng, size_px, rng.uniform(18, 34), rng.uniform(0.0, 0.05))
    albedo = back * (grime(rng, size_px, 4, 0.06) + float(rng.choice([-0.3, 0.4])) * dust)[..., None]
    height = 0.25 * noise.fractal(rng, size_px, 2, octaves=2)
    return material(albedo, height, rng.uniform(0.7, 1.0), "glass", pick(rng, "glass", "a glass pane", "clear glass"))
