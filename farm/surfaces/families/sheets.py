"""Sheet goods: wood, paper, rubber, printed film."""

from __future__ import annotations

import math

import cv2
import numpy as np

from farm.surfaces import noise
from farm.surfaces.colour import any_colour, grey, mixed, shaded, tint
from farm.surfaces.families.build import direction, grime, log_uniform, material, pick, specks
from farm.surfaces.material import Material

_LETTERS = "ABCDEFGHKLMNPRSTUVXYZ0123456789"


def wood(rng: np.random.Generator, size_px: int) -> Material:
    """Sawn board: wavering growth rings, pores and rays along the grain."""
    angle = direction(rng, upright=0.75)
    u, v = noise.along(size_px, angle)
    waver = noise.spectral(rng, size_px, 2, angle, stretch=rng.uniform(2, 5), slope=3)
    rings = log_uniform(rng, 4, 18)
    depth = v + rng.uniform(0.01, 0.07) * waver + rng.normal(0, 0.25) * u * u + rng.normal(0, 0.05) * u
    phase = depth * rings + 0.8 * noise.value(rng, size_px, 2)
    saw = phase - np.floor(phase)
    ring = saw ** rng.uniform(1, 4) * noise.smoothstep(saw, 1.0, rng.uniform(0.8, 0.95))
    pores = noise.streaks(rng, size_px, log_uniform(rng, 30, 70), angle, length=rng.uniform(0.05, 0.3))
    fibre = noise.streaks(rng, size_px, rng.uniform(20, 60), angle, length=1.0)
    light = tint(rng, (0.05, 0.12), (0.2, 0.6), (0.45, 0.9))
    dark = light * tint(rng, (0.02, 0.09), (0.2, 0.6), (0.55, 0.85))
    share = np.clip(rng.uniform(0.4, 1.0) * ring + 0.12 * fibre, 0, 1)
    deep = np.maximum(pores - 1.0, 0)
    factor = (1 + 0.05 * fibre - rng.uniform(0.02, 0.18) * deep) * grime(rng, size_px, 2, 0.15)
    albedo = mixed(light, dark, share) * factor[..., None]
    relief = 0.08 * fibre - rng.uniform(0.1, 0.4) * deep - 0.2 * share
    phrase = pick(rng, "wood", "wood", "a wooden board", "wood grain")
    return material(albedo, relief, rng.uniform(0, 0.35), "wood", phrase, angle)


def paper(rng: np.random.Generator, size_px: int) -> Material:
    """White, tinted or kraft paper: formation clouds, fibres and a few specks; or corrugated board."""
    kraft = rng.random() < 0.35
    colour = (
        tint(rng, (0.07, 0.11), (0.25, 0.5), (0.5, 0.8))
        if kraft
        else tint(rng, (0.0, 1.0), (0.0, 0.15 if rng.random() < 0.7 else 0.5), (0.7, 0.97))
    )
    angle = direction(rng, upright=0.8)
    cloud = noise.band(rng, size_px, rng.uniform(6, 20), width=0.6)
    fibre = noise.spectral(rng, size_px, rng.uniform(20, 50), angle, stretch=rng.uniform(1, 4), slope=1.6)
    dirt = specks(rng, size_px, rng.uniform(16, 32), rng.uniform(0.0, 0.08))
    factor = 1 + rng.uniform(0.005, 0.03) * cloud + rng.uniform(0.01, 0.06) * fibre - rng.uniform(0.1, 0.4) * dirt
    relief = rng.uniform(0.03, 0.25) * fibre + 0.1 * cloud
    if rng.random() < 0.25:
        _, v = noise.along(size_px, angle)
        flute = np.sin(2 * math.pi * rng.uniform(8, 26) * (v + 0.003 * cloud))
        factor, relief = factor + 0.03 * flute, relief + rng.uniform(0.1, 0.5) * flute
    phrase = "kraft paper" if kraft and rng.random() < 0.5 else pick(rng, "paper", "paper", "a paper sheet")
    return material(shaded(colour, factor), relief, rng.uniform(0, 0.1), "paper", phrase, angle)


def rubber(rng: np.random.Generator, size_px: int) -> Material:
    """Moulded rubber: dark and fine-grained, plain, ribbed or studded."""
    angle = direction(rng)
    u, v = noise.along(size_px, angle)
    colour = grey(rng, (0.1, 0.4), 0.15) if rng.random() < 0.75 else any_colour(rng, (0.15, 0.5))
    grain = noise.fractal(rng, size_px, log_uniform(rng, 24, 60), octaves=2, gain=0.8)
    cloud = noise.fractal(rng, size_px, 3, octaves=3)
    pattern = np.zeros_like(grain)
    style = pick(rng, "plain", "plain", "ribbed", "studded")
    count = rng.uniform(4, 16)
    if style == "ribbed":
        pattern = noise.smoothstep(np.sin(2 * math.pi * count * v + rng.uniform(0, 6)), -0.4, 0.4)
    elif style == "studded":
        stud = np.cos(math.pi * count * (u + v)) * np.cos(math.pi * count * (u - v))
        pattern = noise.smoothstep(np.abs(stud), 0.35, 0.65)
    factor = (1 + 0.08 * grain + 0.1 * cloud) * (0.85 + 0.25 * pattern) * grime(rng, size_px, 4, rng.uniform(0, 0.3))
    relief = rng.uniform(0.1, 0.4) * grain + rng.uniform(0.8, 3) * pattern
    gloss = np.clip(rng.uniform(0.05, 0.4) + 0.03 * grain, 0, 1)
    return material(shaded(colour, factor), relief, gloss, "rubber", pick(rng, "rubber", "a rubber sheet"), angle)


def printed_film(rng: np.random.Generator, size_px: int) -> Material:
    """Glossy packaging film or label: printed blocks, stripes, halftone and lettering."""
    angle = direction(rng, upright=0.8)
    albedo: np.ndarray = np.broadcast_to(any_colour(rng, (0.4, 0.97)), (size_px, size_px, 3))
    for _ in range(int(rng.integers(1, 5))):
        ink = any_colour(rng, (0.1, 0.95))
        albedo = mixed(albedo, ink, _print(rng, size_px, angle) * rng.uniform(0.5, 1.0))
    crinkle = noise.spectral(rng, size_px, 4, rng.uniform(0, math.pi), stretch=rng.uniform(1, 4), slope=2.8)
    ink_noise = noise.spectral(rng, size_px, 40, slope=1.2)
    albedo = albedo * (1 + 0.02 * ink_noise + 0.015 * crinkle)[..., None]
    height = log_uniform(rng, 0.05, 1.0) * crinkle
    phrase = pick(rng, "printed film", "printed film", "a printed label", "packaging film")
    return material(albedo, height, rng.uniform(0.4, 1.0), "printed_film", phrase, angle)


def _print(rng: np.random.Generator, size_px: int, angle: float) -> np.ndarray:
    """0..1 coverage by one ink: a block, stripes, a halftone, discs or lettering."""
    u, v = noise.along(size_px, angle)
    style = pick(rng, "block", "stripes", "halftone", "disc", "letters", "letters")
    edge = 0.7 / size_px
    if style == "block":
        inside = np.maximum(
            np.abs(u - rng.uniform(-0.5, 0.5)) - rng.uniform(0.1, 0.5),
            np.abs(v - rng.uniform(-0.5, 0.5)) - rng.uniform(0.05, 0.4),
        )
        return noise.smoothstep(inside, edge, -edge)
    if style == "stripes":
        count = rng.uniform(1.5, 14)
        wave = np.sin(2 * math.pi * (v * count + rng.random())) + rng.uniform(-0.7, 0.7)
        return noise.smoothstep(wave, -edge * 6 * count, edge * 6 * count)
    if style == "halftone":
        count = rng.uniform(16, 40)
        dots = np.cos(2 * math.pi * count * u) + np.cos(2 * math.pi * count * v)
        return noise.smoothstep(dots + 3 * (u + rng.uniform(-0.4, 0.4)), -0.5, 0.5)
    if style == "disc":
        distance = np.hypot(u - np.float32(rng.uniform(-0.4, 0.4)), v - np.float32(rng.uniform(-0.4, 0.4)))
        radius = rng.uniform(0.08, 0.35)
        ring = np.abs(distance - radius) - rng.uniform(0.01, 0.06) if rng.random() < 0.4 else distance - radius
        return noise.smoothstep(ring, edge, -edge)
    return _letters(rng, size_px, angle)


def _letters(rng: np.random.Generator, size_px: int, angle: float) -> np.ndarray:
    """0..1 coverage by lines of random lettering."""
    scale = size_px / 128
    page = np.zeros((size_px, size_px), np.uint8)
    height_px = log_uniform(rng, 7, 40) * scale
    font_scale = height_px / 22
    thick = max(1, round(height_px / rng.uniform(5, 11)))
    for line in range(int(rng.integers(1, 6))):
        text = "".join(_LETTERS[i] for i in rng.integers(0, len(_LETTERS), int(rng.integers(2, 12))))
        origin = (int(rng.uniform(-0.05, 0.3) * size_px), int(size_px * 0.2 + line * 1.5 * height_px))
        cv2.putText(page, text, origin, cv2.FONT_HERSHEY_SIMPLEX, font_scale, 255, thick, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((size_px / 2, size_px / 2), -math.degrees(angle), 1.0)
    return np.asarray(cv2.warpAffine(page, turn, (size_px, size_px)), np.float32) / 255
