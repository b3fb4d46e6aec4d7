"""Faults of thread and ink: weaving faults and smeared print."""

from __future__ import annotations

import cv2
import numpy as np

from farm.surfaces.defects import shapes
from farm.surfaces.defects.base import exact
from farm.surfaces.defects.brush import LUMA, between, chance, filter_light, heading, lay, mean_colour, place, polish
from farm.surfaces.material import Material
from farm.surfaces.noise import blur, grid, smoothstep, streaks, value, warp


@exact
def weave_fault(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A fault of the loom: a thread gone, a thick or coloured one, threads pulled aside, or a snagged loop."""
    faults = (_missing_thread, _wrong_thread, _pulled_aside, _snag)
    return faults[int(rng.choice(4, p=(0.3, 0.25, 0.25, 0.2)))](material, rng)


def _line(material: Material, rng: np.random.Generator, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance from a thread line in widths, signed, and how much of the fault is at each point along it."""
    angle = material.grain_rad + (np.pi / 2 if chance(rng, 0.5) else 0.0)
    middle, reach = place(material, rng, 0.08), between(rng, 0.12, 0.6)
    x, y = grid(material.size_px)
    u, v = x - np.float32(middle[0]), y - np.float32(middle[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    run = cos * u + sin * v
    across = cos * v - sin * u + np.float32(0.004) * value(rng, material.size_px, 5)
    soft = rng.uniform(0.01, 0.08)
    return across / np.float32(width), smoothstep(np.abs(run), reach / 2 + soft, reach / 2 - soft)


def _shift(material: Material, dx: np.ndarray, dy: np.ndarray) -> None:
    for field in (material.albedo, material.height, material.gloss):
        field[...] = warp(field, dx, dy)


def _missing_thread(material: Material, rng: np.random.Generator) -> np.ndarray:
    across, strength = _line(material, rng, between(rng, 0.012, 0.03))
    gap = smoothstep(np.abs(across), 0.75, 0.35) * strength
    through = mean_colour(material) * np.float32(rng.uniform(0.1, 0.45))
    if float(mean_colour(material) @ LUMA) < 0.06:
        through = mean_colour(material) + np.float32(0.2)
    lay(material, gap * np.float32(rng.uniform(0.6, 1)), through)
    material.height -= gap * np.float32(rng.uniform(1, 3))
    beside = np.exp(-((np.abs(across) - 1) ** 2) * 6) * strength
    material.height += beside * np.float32(rng.uniform(0, 1))
    return np.maximum(gap, beside * 0.3) > 0.05


def _wrong_thread(material: Material, rng: np.random.Generator) -> np.ndarray:
    size_px, width = material.size_px, between(rng, 0.012, 0.04)
    across, strength = _line(material, rng, width)
    swell = np.clip(1 + np.float32(0.25) * value(rng, size_px, 8), 0.4, 1.6)
    round_top = np.sqrt(np.clip(1 - (across / swell) ** 2, 0, 1)) * strength
    cover = smoothstep(round_top, 0.05, 0.35)
    twist = np.sin(
        2 * np.pi * (across * np.float32(0.5) + (grid(size_px)[0] + grid(size_px)[1]) / np.float32(width * 1.4))
    )
    factor = rng.uniform(0.35, 0.7) if chance(rng, 0.5) else rng.uniform(1.3, 2.2)
    colour = mean_colour(material) * np.float32(factor) + np.float32(0.02 if factor > 1 else 0)
    shade = (1 + np.float32(0.15) * twist)[..., None]
    lay(material, cover * np.float32(rng.uniform(0.6, 1)), np.clip(colour * shade, 0, 0.95))
    material.height += round_top * np.float32(rng.uniform(0.5, 2.5))
    return cover > 0.05


def _pulled_aside(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Threads pushed apart or dragged: the maps are read from elsewhere, most in the middle of a patch."""
    size_px, radius = material.size_px, between(rng, 0.05, 0.15)
    middle = place(material, rng, 0.1)
    field = shapes.mound(rng, size_px, middle, radius, between(rng, 1, 2.5), heading(material, rng, 0.7), 0.1)
    amount = smoothstep(field, 0, 0.8)
    drag = np.float32(rng.uniform(0.03, 0.08)) * rng.choice((-1, 1))
    angle = material.grain_rad + (np.pi / 2 if chance(rng, 0.5) else 0.0)
    bend = value(rng, size_px, 0.7 / radius)
    _shift(material, amount * drag * np.float32(np.cos(angle)) * bend, amount * drag * np.float32(np.sin(angle)) * bend)
    filter_light(material, amount, rng.uniform(0.75, 1.25))
    slack = amount * np.float32(rng.uniform(-1.5, 2.0))
    material.height += slack
    return amount > 0.06


def _snag(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A thread end or loop that stands off the cloth, and the slack it left along its line."""
    size_px = material.size_px
    middle = place(material, rng, 0.12)
    width = max(between(rng, 0.01, 0.02), 1.2 / size_px)
    cover = np.zeros((size_px, size_px), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        start = rng.normal(0, 0.02, 2) + np.asarray(middle)
        path = shapes.curve(rng, (start[0], start[1]), rng.uniform(0, np.pi), between(rng, 0.08, 0.3), 2.5, 0.15)
        cover = np.maximum(cover, shapes.ribbon(size_px, path, shapes.taper(rng, len(path), width, 0.15)))
    shadow = np.roll(blur(cover, 1.2 / 128), (1, 1), (0, 1)) * (1 - cover)
    filter_light(material, shadow, rng.uniform(0.3, 0.8))
    colour = mean_colour(material) * np.float32(rng.uniform(0.9, 1.7)) + np.float32(rng.uniform(0, 0.15))
    lay(material, cover, np.clip(colour, 0, 0.95))
    material.height += np.sqrt(blur(cover, 0.6 / 128) * cover) * np.float32(rng.uniform(0.8, 2.5))
    polish(material, cover, 0.1)
    return (cover > 0.05) | (shadow > 0.1)


@exact
def print_smear(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Wet ink dragged along a direction: the print is drawn out in streaks and leaves a film of ink behind."""
    size_px, radius = material.size_px, between(rng, 0.07, 0.18)
    angle, middle = heading(material, rng, 0.5), place(material, rng, 0.1)
    field = shapes.mound(rng, size_px, middle, radius, between(rng, 1.2, 3.5), angle, rng.uniform(0.1, 0.3))
    lines = streaks(rng, size_px, rng.uniform(20, 50), angle, 0.3)
    cover = smoothstep(field + np.float32(0.15) * lines, 0.0, rng.uniform(0.15, 0.5))
    dragged = cv2.filter2D(material.albedo, -1, _drag(size_px, angle, rng.uniform(0.06, 0.16)))
    darkest = np.quantile(material.albedo @ LUMA, 0.05)
    ink = material.albedo[material.albedo @ LUMA <= darkest + 1e-6].mean(axis=0)
    if float(mean_colour(material) @ LUMA) - float(ink @ LUMA) < 0.12:  # nothing printed that could smear
        ink = mean_colour(material) * np.float32(rng.uniform(0.2, 0.6))
    film = np.clip(np.float32(rng.uniform(0.1, 0.45)) * (1 + 0.7 * lines), 0, 0.9)[..., None]
    lay(material, cover * np.float32(rng.uniform(0.7, 1)), np.asarray(dragged + (ink - dragged) * film, np.float32))
    polish(material, cover, rng.uniform(0.1, 0.6))
    return cover > 0.05


def _drag(size_px: int, angle: float, length: float) -> np.ndarray:
    """A one-sided streak that fades with distance, as a filter kernel."""
    reach = max(2, round(length * size_px))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    steps = np.linspace(0, reach, 3 * reach)
    columns = np.rint(reach + steps * np.cos(angle)).astype(int)
    rows = np.rint(reach + steps * np.sin(angle)).astype(int)
    np.add.at(kernel, (rows, columns), (1 - steps / (reach + 1)).astype(np.float32))
    return np.asarray(kernel / kernel.sum(), np.float32)
