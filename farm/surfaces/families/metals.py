"""Metal surfaces: brushed, cast, grooved steel, ground ferrite, painted, turned."""

from __future__ import annotations

import math

import numpy as np

from farm.surfaces import noise
from farm.surfaces.colour import any_colour, grey, mixed, shaded, tint
from farm.surfaces.families.build import direction, grime, log_uniform, material, pick, specks
from farm.surfaces.material import Material


def brushed_metal(rng: np.random.Generator, size_px: int) -> Material:
    """Sheet with parallel brush lines at several scales, steel to brass."""
    angle = direction(rng, upright=0.6)
    metal = pick(rng, "steel", "steel", "aluminium", "brass", "copper", "anodised")
    colour = {
        "steel": grey(rng, (0.5, 0.8), 0.06),
        "aluminium": grey(rng, (0.65, 0.9), 0.04),
        "brass": tint(rng, (0.11, 0.15), (0.2, 0.45), (0.65, 0.85)),
        "copper": tint(rng, (0.03, 0.08), (0.25, 0.5), (0.6, 0.8)),
        "anodised": any_colour(rng, (0.3, 0.7)),
    }[metal]
    fine = noise.streaks(rng, size_px, log_uniform(rng, 35, 90), angle, length=rng.uniform(0.3, 2))
    coarse = noise.streaks(rng, size_px, log_uniform(rng, 6, 20), angle, length=rng.uniform(1, 3))
    lines = fine + rng.uniform(0.2, 0.9) * coarse
    sheen = noise.spectral(rng, size_px, 2.5, angle + math.pi / 2, stretch=rng.uniform(4, 10), slope=3)
    strength = rng.uniform(0.04, 0.16)
    factor = 1 + strength * lines + rng.uniform(0.03, 0.2) * sheen
    gloss = rng.uniform(0.35, 0.7) + 0.06 * lines
    phrase = "brushed metal" if rng.random() < 0.6 else f"brushed {metal}" + (" metal" if metal == "anodised" else "")
    return material(shaded(colour, factor), rng.uniform(0.05, 0.3) * lines, gloss, "brushed_metal", phrase, angle)


def cast_metal(rng: np.random.Generator, size_px: int) -> Material:
    """Rough casting skin: grains, shallow pits and stains on grey or dark iron."""
    colour = grey(rng, (0.25, 0.65), 0.1)
    cells = log_uniform(rng, 10, 36)
    skin = noise.fractal(rng, size_px, cells, octaves=4, gain=rng.uniform(0.45, 0.75))
    swell = noise.fractal(rng, size_px, 3, octaves=3)
    pits = noise.smoothstep(noise.band(rng, size_px, min(cells * 1.5, 40)), 1.2, 2.6)
    factor = (1 + 0.1 * skin + 0.1 * swell) * (1 - 0.35 * pits) * grime(rng, size_px, 3, rng.uniform(0, 0.35))
    height = rng.uniform(0.2, 0.8) * skin + 0.8 * swell - rng.uniform(0.3, 1.2) * pits
    gloss = np.clip(rng.uniform(0.05, 0.4) + 0.06 * skin, 0, 1)
    phrase = pick(rng, "cast metal", "cast metal", "cast iron", "a metal casting")
    return material(shaded(colour, factor), height, gloss, "cast_metal", phrase)


def grooved_steel(rng: np.random.Generator, size_px: int) -> Material:
    """A polished steel shaft with grooves: oblique bright and dark bands under a film of brownish oil."""
    angle = rng.normal(-0.3, 0.18) if rng.random() < 0.7 else rng.uniform(-1.6, 1.6)
    u, v = noise.along(size_px, angle)
    bend = rng.normal(0, 0.12) * u * u + 0.01 * noise.value(rng, size_px, 2)
    across = v + bend
    profile = _groove_profile(rng, across)
    fine = noise.streaks(rng, size_px, log_uniform(rng, 18, 60), angle, length=rng.uniform(0.5, 2))
    broad = noise.spectral(rng, size_px, 3, angle, stretch=rng.uniform(2, 5), slope=3)
    oil = noise.smoothstep(noise.spectral(rng, size_px, 3, angle, stretch=2.5, slope=2.5), 0.9, 2.4)
    bright = tint(rng, (0.09, 0.17), (0.08, 0.4), (0.6, 0.88))
    brown = tint(rng, (0.06, 0.15), (0.3, 0.65), (0.08, 0.26))
    share = np.clip(profile + 0.08 * broad + rng.uniform(0.01, 0.05) * fine, 0, 1)
    albedo = mixed(brown, bright, share) * (1 - rng.uniform(0.2, 0.8) * oil * (1 - 0.5 * share))[..., None]
    if rng.random() < 0.6:
        albedo = albedo * (1 - _reflection(rng, u, across))[..., None]
    height = 0.12 * fine + rng.uniform(0.3, 1.5) * profile
    phrase = pick(rng, "grooved steel", "a grooved steel shaft", "a ball screw raceway")
    return material(albedo, height, 0.25 + 0.35 * share, "grooved_steel", phrase, angle)


def _groove_profile(rng: np.random.Generator, across: np.ndarray) -> np.ndarray:
    """Brightness 0..1 across the grooves: each land fades slowly one way and ends in a dark flank."""
    pitch = rng.uniform(0.22, 0.6)
    phase = across / pitch + rng.random()
    count = np.floor(phase)
    saw = phase - count
    flank = rng.uniform(0.08, 0.3)
    land = noise.smoothstep(saw, 0, flank) * (1 - noise.smoothstep(saw, 1 - rng.uniform(0.03, 0.2), 1))
    slope = rng.uniform(0.3, 1.1) * float(rng.choice([-1.0, 1.0]))
    wave = 0.2 * np.sin(phase * rng.uniform(5, 11) + rng.uniform(0, 6))
    level = rng.uniform(0.5, 1.0, 16).astype(np.float32)[count.astype(np.int32) % 16]
    edge = (
        0.35
        * np.exp(-(((saw - rng.uniform(0.1, 0.9)) / rng.uniform(0.01, 0.05)) ** 2))
        * float(rng.choice([-1.0, 0.0, 1.0]))
    )
    return np.asarray(np.clip(land * (0.72 + slope * (saw - 0.5) + wave) * level + land * edge, 0, 1), np.float32)


def _reflection(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Dark soft-edged reflections of the machine around the shaft."""
    total = np.zeros_like(u)
    for _ in range(int(rng.integers(1, 4))):
        du, dv = rng.uniform(0.03, 0.13), rng.uniform(0.02, 0.12)
        inside_u = noise.smoothstep(np.abs(u - rng.uniform(-0.5, 0.5)), du + rng.uniform(0.02, 0.1), du)
        inside_v = noise.smoothstep(np.abs(v - rng.uniform(-0.5, 0.5)), dv + rng.uniform(0.01, 0.08), dv)
        total = np.maximum(total, rng.uniform(0.2, 0.7) * inside_u * inside_v)
    return total


def ground_tile(rng: np.random.Generator, size_px: int) -> Material:
    """A dark grey ferrite tile: vertical grinding streaks, cloudy exposure, dark edges."""
    angle = math.pi / 2 + rng.normal(0, 0.05) if rng.random() < 0.88 else direction(rng)
    base = grey(rng, (0.18, 0.58), 0.01)
    fine = noise.streaks(rng, size_px, log_uniform(rng, 50, 140), angle, length=log_uniform(rng, 0.15, 3))
    broad = noise.streaks(rng, size_px, log_uniform(rng, 4, 16), angle, length=rng.uniform(1, 3))
    cloud = noise.spectral(rng, size_px, 2.5, angle, stretch=1.8, slope=2.6)
    grain = noise.spectral(rng, size_px, 30, slope=1.0)
    marks = np.maximum(noise.streaks(rng, size_px, log_uniform(rng, 40, 120), angle, log_uniform(rng, 0.2, 4)) - 1.5, 0)
    factor = np.exp(
        rng.uniform(0.06, 0.25) * fine
        + rng.uniform(0.06, 0.25) * broad
        + rng.uniform(0.08, 0.35) * cloud
        + rng.uniform(0.02, 0.1) * grain
        + rng.uniform(0.0, 0.7) * marks
    )
    factor = factor * grime(rng, size_px, 4, rng.uniform(0, 0.3)) * _dark_edges(rng, size_px)
    height = 0.06 * fine + 0.05 * grain
    phrase = pick(rng, "a ground tile", "a magnetic tile", "a ground magnetic tile", "a ferrite tile")
    return material(shaded(base, factor), height, rng.uniform(0.02, 0.12), "ground_tile", phrase, angle)


def _dark_edges(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """A brightness factor that falls off towards some of the four borders, now and then to black."""
    x, y = noise.grid(size_px)
    factor = np.ones((size_px, size_px), np.float32)
    wobble = 0.006 * noise.value(rng, size_px, 4)
    for distance in (x, 1 - x, y, 1 - y):
        if rng.random() < 0.5:
            reach = rng.uniform(0.05, 0.3)
            factor *= 1 - rng.uniform(0.15, 0.7) * noise.smoothstep(distance, reach, 0)
        if rng.random() < 0.2:
            border = rng.uniform(0.005, 0.06)
            factor *= 1 - rng.uniform(0.6, 0.95) * noise.smoothstep(distance + wobble, border + 0.015, border)
    return factor


def painted_metal(rng: np.random.Generator, size_px: int) -> Material:
    """Sheet under paint or powder coat: flat colour with orange peel and dust."""
    colour = any_colour(rng, (0.15, 0.95))
    peel = noise.band(rng, size_px, log_uniform(rng, 10, 38), width=0.4)
    swell = noise.fractal(rng, size_px, 2, octaves=3)
    dust = specks(rng, size_px, rng.uniform(14, 26), rng.uniform(0.0, 0.06))
    factor = 1 + 0.02 * peel + rng.uniform(0.01, 0.06) * swell + float(rng.choice([-0.25, 0.3])) * dust
    height = log_uniform(rng, 0.03, 0.3) * peel + 0.4 * swell
    phrase = pick(rng, "painted metal", "painted metal", "a painted panel", "a coated metal sheet")
    return material(shaded(colour, factor), height, rng.uniform(0.3, 0.9), "painted_metal", phrase)


def turned_metal(rng: np.random.Generator, size_px: int) -> Material:
    """A face turned or milled in arcs: concentric tool marks with fanned highlights."""
    x, y = noise.grid(size_px)
    centre_x, centre_y = rng.uniform(-0.6, 1.6, 2).tolist()
    dx, dy = x - np.float32(centre_x), y - np.float32(centre_y)
    radius = np.sqrt(dx * dx + dy * dy) + 0.001 * noise.value(rng, size_px, 6)
    turns = log_uniform(rng, 12, 40)
    ring = noise.standard(np.interp(radius, np.linspace(0, 3, 900), _rings(rng, turns)).astype(np.float32))
    fan = np.cos(2 * np.arctan2(dy, dx) + rng.uniform(0, 6))
    colour = grey(rng, (0.45, 0.8), 0.06)
    factor = (1 + rng.uniform(0.04, 0.14) * ring + rng.uniform(0.05, 0.3) * fan) * grime(rng, size_px, 3, 0.2)
    height = rng.uniform(0.1, 0.4) * ring
    angle = math.atan2(0.5 - centre_y, 0.5 - centre_x) + math.pi / 2
    phrase = pick(rng, "turned metal", "machined metal", "a machined metal face")
    return material(shaded(colour, factor), height, rng.uniform(0.3, 0.6), "turned_metal", phrase, angle)


def _rings(rng: np.random.Generator, turns: float) -> np.ndarray:
    radius = np.linspace(0, 3, 900)
    grooves = np.sin(2 * np.pi * turns * radius)
    wear = np.interp(radius, np.linspace(0, 3, 120), rng.standard_normal(120))
    return np.asarray(rng.uniform(0.3, 1) * grooves + wear + 0.4 * rng.standard_normal(900))
