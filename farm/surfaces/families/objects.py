"""Objects on a background: nut, washer, gear, cookie, tablet, capsule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from farm.surfaces import noise
from farm.surfaces.colour import any_colour, grey, mixed, tint
from farm.surfaces.families.backgrounds import shadow, tray
from farm.surfaces.families.build import log_uniform, material, pick, specks
from farm.surfaces.material import Material


@dataclass(frozen=True)
class Pose:
    """Where an object lies: coordinates in its own frame, in object radii, and the radius in image sides."""

    u: np.ndarray
    v: np.ndarray
    radius: float
    angle: float

    @property
    def distance(self) -> np.ndarray:
        """Distance from the centre, in radii."""
        return np.hypot(self.u, self.v)


def place(rng: np.random.Generator, size_px: int, radius: tuple[float, float]) -> Pose:
    """A random position, size and turn that leaves the object well in view."""
    size, angle = rng.uniform(*radius), rng.uniform(0, 2 * math.pi)
    slack = max(0.03, 0.5 - size - 0.03) * 0.8
    u, v = noise.along(size_px, angle)
    cx, cy = rng.uniform(-slack, slack), rng.uniform(-slack, slack)
    cu, cv = cx * math.cos(angle) + cy * math.sin(angle), cy * math.cos(angle) - cx * math.sin(angle)
    return Pose((u - cu) / size, (v - cv) / size, size, angle)


def _cover(pose: Pose, sdf: np.ndarray) -> np.ndarray:
    """0..1 coverage from a signed distance in radii (negative inside), one pixel soft."""
    edge = 0.6 / (sdf.shape[0] * pose.radius)
    return noise.smoothstep(sdf, edge, -edge)


def _laid(
    rng: np.random.Generator,
    cover: np.ndarray,
    part: tuple[np.ndarray, np.ndarray, np.ndarray],
    family: str,
    phrase: str,
    grain_rad: float,
    dark: float = 0.5,
) -> Material:
    """The object (albedo, height, gloss) laid on a tray with its shadow."""
    size_px = cover.shape[0]
    ground, relief = tray(rng, size_px, dark)
    ground = ground * shadow(rng, cover)[..., None]
    albedo, height, gloss = part
    return material(
        mixed(ground, albedo, cover),
        relief * (1 - cover) + height * cover,
        gloss * cover + 0.1 * (1 - cover),
        family,
        phrase,
        grain_rad,
        cover > 0.5,
    )


def _hexagon(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to a hexagon whose flats are 1 from the centre (exact near the flats)."""
    flats = [
        np.abs(u * np.float32(math.cos(k)) + v * np.float32(math.sin(k))) for k in (0, math.pi / 3, 2 * math.pi / 3)
    ]
    return np.asarray(np.maximum.reduce(flats) - 1, np.float32)


def _metal_finish(rng: np.random.Generator, size_px: int) -> tuple[np.ndarray, str]:
    kind = pick(rng, "steel", "steel", "zinc", "brass", "black")
    colour = {
        "steel": grey(rng, (0.5, 0.8), 0.06),
        "zinc": tint(rng, (0.1, 0.16), (0.05, 0.3), (0.6, 0.85)),
        "brass": tint(rng, (0.1, 0.14), (0.3, 0.6), (0.6, 0.85)),
        "black": grey(rng, (0.12, 0.3), 0.1),
    }[kind]
    wear = noise.fractal(rng, size_px, rng.uniform(4, 14), octaves=4, gain=0.7)
    return np.asarray(colour * (1 + rng.uniform(0.03, 0.14) * wear)[..., None], np.float32), kind


def nut(rng: np.random.Generator, size_px: int) -> Material:
    """A hexagon nut from above: chamfered corners, threaded bore."""
    pose = place(rng, size_px, (0.24, 0.42))
    bore = rng.uniform(0.5, 0.66)
    hexagon, distance = _hexagon(pose.u * 1.12, pose.v * 1.12), pose.distance
    sdf = np.maximum(hexagon, distance - rng.uniform(1.0, 1.04))
    cover = _cover(pose, np.maximum(sdf, bore - distance))
    albedo, kind = _metal_finish(rng, size_px)
    unit = 128 * pose.radius
    chamfer = np.minimum(0, (rng.uniform(0.84, 0.93) - distance)) * rng.uniform(0.6, 1.1)
    mouth = np.minimum(0, distance - bore - rng.uniform(0.05, 0.12)) * rng.uniform(0.6, 1.2)
    rim = noise.smoothstep(sdf, -0.06, 0) * 0.05
    rings = noise.value(rng, size_px, 40) * 0.1
    height = (chamfer + mouth - rim) * unit + rings
    thread = noise.smoothstep(np.abs(distance - bore - 0.03), 0.04, 0.0)
    albedo = albedo * (1 - 0.5 * thread)[..., None]
    gloss = np.full_like(height, rng.uniform(0.3, 0.65))
    phrase = pick(
        rng, "a metal nut", "a metal nut", "a hexagon nut", "a black nut" if kind == "black" else "a steel nut"
    )
    phrase = phrase if kind != "brass" else "a brass nut"
    found = _laid(rng, cover, (albedo, height, gloss), "nut", phrase, pose.angle)
    inside = _cover(pose, distance - bore) * (1 - cover)
    ripple = 0.5 + 0.5 * np.sin(distance * 60)
    found.albedo *= (1 - inside * (0.45 + 0.35 * ripple * noise.smoothstep(distance, bore - 0.18, bore)))[..., None]
    return found


def washer(rng: np.random.Generator, size_px: int) -> Material:
    """A flat ring or disc of turned metal."""
    pose = place(rng, size_px, (0.26, 0.45))
    distance = pose.distance
    bore = rng.uniform(0.3, 0.65) if rng.random() < 0.8 else -1.0
    cover = _cover(pose, np.maximum(distance - 1, bore - distance))
    albedo, kind = _metal_finish(rng, size_px)
    turns = np.interp(distance, np.linspace(0, 1.5, 100), rng.standard_normal(100)).astype(np.float32)
    fan = np.cos(2 * np.arctan2(pose.v, pose.u) + rng.uniform(0, 6))
    albedo = albedo * (1 + rng.uniform(0.03, 0.12) * turns + rng.uniform(0, 0.2) * fan)[..., None]
    bevel = rng.uniform(0.03, 0.1)
    edge = np.minimum(0, 1 - bevel - distance) + np.minimum(0, distance - bore - bevel)
    height = edge * 128 * pose.radius * rng.uniform(0.3, 0.9) + 0.12 * turns
    gloss = np.full_like(height, rng.uniform(0.3, 0.65))
    noun = "washer" if bore > 0 else "disc"
    phrase = f"a {'brass' if kind == 'brass' else 'metal'} {noun}"
    return _laid(rng, cover, (albedo, height, gloss), "washer", phrase, pose.angle)


def gear(rng: np.random.Generator, size_px: int) -> Material:
    """A spur gear from above."""
    pose = place(rng, size_px, (0.28, 0.45))
    distance, around = pose.distance, np.arctan2(pose.v, pose.u)
    teeth = int(rng.integers(8, 28))
    tooth = noise.smoothstep(np.cos(teeth * around), -0.5, 0.5)
    depth = rng.uniform(1.5, 3.0) / teeth
    outline = distance - (1 - depth + depth * tooth)
    bore = rng.uniform(0.15, 0.4)
    solid = np.maximum(outline, bore - distance)
    spokes = int(rng.integers(3, 7)) if rng.random() < 0.4 and bore < 0.3 else 0
    if spokes:
        spot = np.hypot(distance - (1 - depth + bore) / 2, 0.55 * np.sin(spokes * around / 2) * distance)
        solid = np.maximum(solid, (1 - depth - bore) * 0.22 - spot)
    cover = _cover(pose, solid.astype(np.float32))
    albedo, kind = _metal_finish(rng, size_px)
    fine = noise.fractal(rng, size_px, 30, octaves=2)
    height = 128 * pose.radius * rng.uniform(0.3, 0.9) * np.clip(-solid - 0.05, -0.05, 0)
    gloss = np.full_like(height, rng.uniform(0.25, 0.55))
    phrase = f"a {'brass' if kind == 'brass' else 'metal'} gear"
    return _laid(rng, cover, (albedo, height + 0.1 * fine, gloss), "gear", phrase, pose.angle)


def cookie(rng: np.random.Generator, size_px: int) -> Material:
    """A baked biscuit with chips, most often on a dark tray."""
    pose = place(rng, size_px, (0.26, 0.46))
    squash = rng.uniform(0.65, 1.0)
    around = np.arctan2(pose.v / squash, pose.u)
    lumpy = sum(rng.normal(0, 0.05 / k) * np.cos(k * around + rng.uniform(0, 6)) for k in range(2, 7))
    ragged = rng.uniform(0.005, 0.03) * noise.value(rng, size_px, 20)
    power = 2.0 if rng.random() < 0.6 else rng.uniform(2.0, 4.5)  # round to nearly square
    distance = (np.abs(pose.u) ** power + np.abs(pose.v / squash) ** power) ** (1 / power)
    sdf = (distance - 1 - lumpy - ragged).astype(np.float32)
    cover = _cover(pose, sdf)
    unit = 128 * pose.radius
    crumb = noise.fractal(rng, size_px, log_uniform(rng, 14, 34), octaves=4, gain=0.75)
    lump = noise.fractal(rng, size_px, rng.uniform(4, 8), octaves=3)
    crumb = noise.standard(crumb + rng.uniform(0.1, 0.8) * noise.spectral(rng, size_px, 64, slope=1.0))
    near, next_near, _ = noise.worley(rng, size_px, rng.uniform(4, 9))
    crack = noise.smoothstep(next_near - near + 0.12 * crumb, 0.16, 0.0) * noise.smoothstep(lump, -0.2, 0.8)
    bake = tint(rng, (0.06, 0.11), (0.35, 0.65), (0.6, 0.9))
    toast = bake * tint(rng, (0.04, 0.09), (0.2, 0.5), (0.5, 0.8))
    brown = np.clip(noise.smoothstep(sdf, -0.3, 0.0) * rng.uniform(0.2, 0.9) + 0.18 * lump, 0, 1)
    albedo = (
        mixed(bake, toast, brown)
        * ((1 + rng.uniform(0.06, 0.16) * crumb) * (1 - rng.uniform(0.2, 0.7) * crack))[..., None]
    )
    dome = np.sqrt(np.maximum(0.0, 1 - np.clip(sdf + 1, 0, 1) ** 4)) * unit * rng.uniform(0.15, 0.35)
    height = dome + rng.uniform(0.3, 0.8) * crumb + rng.uniform(0.5, 1.4) * lump - 1.5 * crack
    gloss = np.full_like(height, 0.05)
    albedo, height, gloss, chips = _chips(rng, size_px, pose, (albedo, height, gloss))
    kind = "a chocolate chip cookie" if chips and rng.random() < 0.4 else pick(rng, "a cookie", "a cookie", "a biscuit")
    return _laid(rng, cover, (albedo, height.astype(np.float32), gloss), "cookie", kind, pose.angle, dark=0.75)


def _chips(
    rng: np.random.Generator, size_px: int, pose: Pose, part: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The biscuit with dark glossy chips pressed in, and how many."""
    albedo, height, gloss = part
    chips = int(rng.integers(2, 12)) if rng.random() < 0.8 else 0
    wobble = noise.value(rng, size_px, 18) * 0.025
    colour = tint(rng, (0.0, 0.06), (0.3, 0.7), (0.1, 0.3))
    for _ in range(chips):
        r, a, size = 0.85 * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.14)
        long = rng.uniform(1, 1.8)
        du, dv = pose.u - r * math.cos(a), pose.v - r * math.sin(a)
        du, dv = du * math.cos(a) + dv * math.sin(a), dv * math.cos(a) - du * math.sin(a)
        inside = noise.smoothstep(np.hypot(du, dv * long) + wobble, size + 0.03, size - 0.02)
        albedo = mixed(albedo, colour, inside)
        height = height + inside * 1.2
        gloss = gloss + inside * (0.35 - gloss)
    return albedo, height, gloss, chips


def tablet(rng: np.random.Generator, size_px: int) -> Material:
    """A pressed tablet: round or oblong, domed, with a score line or an embossed mark."""
    pose = place(rng, size_px, (0.2, 0.42))
    long = rng.uniform(0.5, 0.8) if rng.random() < 0.35 else 1.0
    distance = np.hypot(pose.u, pose.v / long)
    sdf = ((distance - 1) * long).astype(np.float32)
    cover = _cover(pose, sdf)
    unit = 128 * pose.radius
    bevel = rng.uniform(0.06, 0.2)
    dome = rng.uniform(0.0, 0.2) * (1 - np.minimum(distance, 1) ** 2)
    height = (dome + np.minimum(0, -sdf - bevel) * rng.uniform(0.3, 0.7)) * unit
    powder = noise.fractal(rng, size_px, log_uniform(rng, 20, 50), octaves=3, gain=0.9)
    height = height + rng.uniform(0.05, 0.3) * powder
    if rng.random() < 0.6:
        height = height - noise.smoothstep(np.abs(pose.u), 0.05, 0.0) * unit * 0.05 * (distance < 0.97)
    pale = rng.random() < 0.6
    colour = tint(rng, (0, 1), (0.0, 0.12), (0.8, 0.97)) if pale else any_colour(rng, (0.5, 0.95))
    albedo = colour * (1 + rng.uniform(0.01, 0.05) * powder)[..., None]
    if rng.random() < 0.3:
        flecks = specks(rng, size_px, 40, rng.uniform(0.05, 0.25))
        albedo = mixed(albedo, any_colour(rng, (0.2, 0.7)), 0.7 * flecks)
    gloss = np.full_like(height, rng.uniform(0.05, 0.5))
    phrase = pick(rng, "a tablet", "a white tablet" if pale else "a coloured tablet", "a pill")
    return _laid(rng, cover, (albedo, height, gloss), "tablet", phrase, pose.angle)


def capsule(rng: np.random.Generator, size_px: int) -> Material:
    """A two-part gelatine capsule lying on its side."""
    pose = place(rng, size_px, (0.32, 0.46))
    half = rng.uniform(0.3, 0.4)
    over = np.maximum(np.abs(pose.u) - (1 - half), 0)
    sdf = (np.hypot(over, pose.v) - half).astype(np.float32)
    cover = _cover(pose, sdf)
    joint = rng.uniform(-0.15, 0.15)
    edge = 1.2 / (size_px * pose.radius)
    cap = noise.smoothstep(pose.u, joint - edge, joint + edge)
    first, second = any_colour(rng, (0.35, 0.95)), any_colour(rng, (0.35, 0.97))
    second = first if rng.random() < 0.25 else second
    cloud = noise.fractal(rng, size_px, 3, octaves=3)
    albedo = mixed(first, second, cap) * (1 + 0.03 * cloud)[..., None]
    inside = np.clip(-sdf / half, 0, 1)
    round_height = np.sqrt(np.maximum(1 - (1 - inside) ** 2, 0.0)) * half
    lip = 0.03 * (1 - cap)
    height = (round_height * rng.uniform(0.6, 1.0) - lip) * 128 * pose.radius
    gloss = np.full_like(height, rng.uniform(0.5, 0.95))
    phrase = pick(
        rng, "a capsule", "a gelatine capsule", "a two-colour capsule" if second is not first else "a capsule"
    )
    return _laid(rng, cover, (albedo, height, gloss), "capsule", phrase, pose.angle)


OBJECTS: dict[str, Callable[[np.random.Generator, int], Material]] = {
    "nut": nut,
    "washer": washer,
    "gear": gear,
    "cookie": cookie,
    "tablet": tablet,
    "capsule": capsule,
}
