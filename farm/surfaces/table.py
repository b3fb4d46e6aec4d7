"""Every surface there is, by name: how its material is made and what camera suits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from farm.surfaces.camera import Camera
from farm.surfaces.families import boards, metals, minerals, objects, sheets, textiles
from farm.surfaces.material import Material


@dataclass(frozen=True)
class Surface:
    """One family of surfaces."""

    make: Callable[[np.random.Generator, int], Material]
    weight: float = 1.0  # how often it is drawn, against the others
    key: float = 0.22  # linear level that the exposure aims at
    metering: float = 0.7  # how far the exposure follows the material, 0..1
    monochrome: float = 0.12  # share of photographs from monochrome cameras
    is_object: bool = False
    adjust: Callable[[Camera, np.random.Generator], Camera] | None = None  # what this family asks of the camera


def _scanner(camera: Camera, rng: np.random.Generator) -> Camera:
    """A flatbed scan: even light, little noise, most often bilevel."""
    return replace(
        camera,
        ambient=1.0,
        specular=0.0,
        tilt=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
        spot=(0.5, 0.5, 1.0, 0.0),
        vignette=rng.uniform(0, 0.08),
        motion=0.0,
        exposure=rng.uniform(0.85, 1.25),
        black=0.0,
        monochrome=True,
        binary=rng.random() < 0.7,
    )


def _workshop(camera: Camera, rng: np.random.Generator) -> Camera:
    """A warm, rather dark machine interior seen by a small camera."""
    warm = rng.uniform(0.0, 0.14)
    return replace(
        camera,
        blur=rng.uniform(0.2, 0.9),
        shot_noise=rng.uniform(0.002, 0.012),
        elevation_rad=rng.uniform(0.9, 1.4),
        specular=rng.uniform(0.05, 0.35),
        cast=(1 + warm, 1 + warm / 3, 1 - warm),
        exposure=camera.exposure * rng.uniform(0.5, 1.1),
        contrast=rng.uniform(1.0, 1.5),
    )


def _dim(camera: Camera, rng: np.random.Generator) -> Camera:
    """Uneven exposure, from dark to full, on a sharp sensor."""
    return replace(
        camera,
        exposure=camera.exposure * rng.uniform(0.45, 1.7),
        tilt=(rng.normal(0, 0.5), rng.normal(0, 0.4)),
        blur=rng.uniform(0.1, 0.5),
        contrast=rng.uniform(0.9, 1.4),
    )


def _overhead(camera: Camera, rng: np.random.Generator) -> Camera:
    """Softer and steeper light, as over a sorting table."""
    return replace(
        camera,
        elevation_rad=rng.uniform(0.75, 1.4),
        ambient=rng.uniform(0.3, 0.65),
        vignette=camera.vignette * 0.7,
        blur=camera.blur * 0.7,
    )


def _macro(camera: Camera, rng: np.random.Generator) -> Camera:
    """Soft even light on a fine texture, most often without colour."""
    return replace(camera, elevation_rad=rng.uniform(0.8, 1.4), blur=rng.uniform(0.1, 0.5))


SURFACES: dict[str, Surface] = {
    "brushed_metal": Surface(metals.brushed_metal),
    "cast_metal": Surface(metals.cast_metal),
    "painted_metal": Surface(metals.painted_metal, weight=0.8),
    "turned_metal": Surface(metals.turned_metal, weight=0.8),
    "grooved_steel": Surface(metals.grooved_steel, weight=1.8, monochrome=0.04, adjust=_workshop),
    "ground_tile": Surface(metals.ground_tile, weight=1.8, key=0.12, metering=0.4, monochrome=0.85, adjust=_dim),
    "woven_fabric": Surface(textiles.woven_fabric),
    "knitted_fabric": Surface(textiles.knitted_fabric, weight=0.8),
    "felt_textile": Surface(textiles.felt_textile, weight=1.5, monochrome=0.5, adjust=_macro),
    "leather": Surface(textiles.leather),
    "wood": Surface(sheets.wood),
    "ceramic_tile": Surface(minerals.ceramic_tile),
    "concrete": Surface(minerals.concrete),
    "granite": Surface(minerals.granite, weight=0.6),
    "glass": Surface(minerals.glass, weight=0.8),
    "paper": Surface(sheets.paper, key=0.4, weight=0.8),
    "rubber": Surface(sheets.rubber, key=0.1, weight=0.8),
    "printed_film": Surface(sheets.printed_film, weight=0.9),
    "pcb": Surface(boards.pcb, weight=1.2),
    "pcb_mono": Surface(boards.pcb_mono, weight=1.8, metering=0.0, monochrome=1.0, adjust=_scanner),
    "nut": Surface(objects.nut, is_object=True, metering=0.4, adjust=_overhead),
    "washer": Surface(objects.washer, is_object=True, metering=0.4, weight=0.8, adjust=_overhead),
    "gear": Surface(objects.gear, is_object=True, metering=0.4, weight=0.6, adjust=_overhead),
    "cookie": Surface(objects.cookie, is_object=True, metering=0.4, weight=1.6, monochrome=0.05, adjust=_overhead),
    "tablet": Surface(objects.tablet, is_object=True, metering=0.4, weight=0.8, adjust=_overhead),
    "capsule": Surface(objects.capsule, is_object=True, metering=0.4, weight=0.8, adjust=_overhead),
}
