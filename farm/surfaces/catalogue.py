"""Pairs of photographs of one surface without and with a defect, each a function of a seed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from farm.errors import ConfigError
from farm.ids import generator
from farm.surfaces.camera import Camera, Shot, draw_camera, metered
from farm.surfaces.captions import describe
from farm.surfaces.defects import DEFECTS, draw_mask
from farm.surfaces.material import Material
from farm.surfaces.table import SURFACES, Surface

TRIES = 12
MOST_SHARE = 0.4  # of the image under the mask
FAINT = 3  # byte difference below which a pixel is not said to be changed
CLEAR = 14  # byte difference that a tenth of the mask must reach


@dataclass(frozen=True)
class Pair:
    """One surface under one camera, without and with a defect."""

    normal: np.ndarray  # uint8 (H, W, 3) sRGB
    image: np.ndarray  # uint8 (H, W, 3) sRGB, equal to ``normal`` beyond the lens blur around the mask
    mask: np.ndarray  # uint8 (H, W) in {0, 1}
    surface: str
    defect: str | None
    caption: str
    normal_caption: str


def render(seed: int, size_px: int = 128, surface: str | None = None, defect: str | None = "any") -> Pair:
    """The pair of a seed. ``surface`` None draws a family; ``defect`` "any" draws one that suits it.

    With ``defect`` None or "none" the image is the normal photograph and the mask is empty. A draw whose defect is
    invisible or larger than MOST_SHARE is drawn again, now and then on a new surface of the same family. A given
    defect on no given surface draws a family that it suits; an unknown or unfitting name is a ConfigError.
    """
    kind = None if defect == "none" else defect
    _check(surface, kind)
    family = surface if surface is not None else _draw_family(generator(seed, "surface"), kind)
    for attempt in range(TRIES):
        material, shot = _scene(seed, attempt // 3, family, size_px)
        normal = shot.take(material)
        words = generator(seed, f"caption/{attempt}")
        told = describe(words, normal, material.foreground, material.phrase)
        if kind is None:
            return Pair(normal, normal.copy(), np.zeros(normal.shape[:2], np.uint8), family, None, told, told)
        rng = generator(seed, f"defect/{attempt}")
        name = _draw_defect(rng, family) if kind == "any" else kind
        found = _damaged(material, shot, normal, name, rng)
        if found is not None:
            image, mask = found
            return Pair(normal, image, mask, family, name, f"{told} with {DEFECTS[name].phrase(words)}", told)
    raise RuntimeError(f"seed {seed}: defect '{kind}' on '{family}' stayed invisible in {TRIES} draws")


def render_batch(
    seeds: Iterable[int], size_px: int = 128, surface: str | None = None, defect: str | None = "any"
) -> dict[str, Any]:
    """The pairs of many seeds: "normal", "image", "mask" stacked, the words as lists. Row i depends on seed i alone."""
    pairs = [render(int(seed), size_px, surface, defect) for seed in seeds]
    stacked = {name: np.stack([getattr(pair, name) for pair in pairs]) for name in ("normal", "image", "mask")}
    words = {
        name: [getattr(pair, name) for pair in pairs] for name in ("surface", "defect", "caption", "normal_caption")
    }
    return {**stacked, **words}


def texture(seed: int, size_px: int) -> np.ndarray:
    """A photograph that a texture fills, uint8 (H, W, 3): the bank from which rules cut foreign material."""
    names = [name for name, entry in SURFACES.items() if not entry.is_object]
    name = names[int(generator(seed, "texture").integers(len(names)))]
    return render(seed, size_px, name, None).normal


def mask_shape(seed: int, size_px: int, foreground: np.ndarray | None = None) -> np.ndarray:
    """The support of a random defect, uint8 (H, W) in {0, 1}, within ``foreground`` (H, W) if given."""
    return np.asarray(draw_mask(generator(seed, "mask"), size_px, foreground), np.uint8)


@lru_cache(maxsize=64)
def _odds(kind: str | None) -> tuple[list[str], np.ndarray]:
    """The families on which a defect can be, and the ladder of their cumulated weights."""
    names = [name for name in SURFACES if kind in (None, "any") or DEFECTS[str(kind)].can_be_on(name)]
    weights = np.array([SURFACES[name].weight for name in names])
    return names, np.cumsum(weights / weights.sum())


def _check(surface: str | None, kind: str | None) -> None:
    if surface is not None and surface not in SURFACES:
        raise ConfigError(f"surface '{surface}' is unknown; choose from: {', '.join(SURFACES)}")
    if kind in (None, "any"):
        return
    if kind not in DEFECTS:
        raise ConfigError(f"defect '{kind}' is unknown; choose from: any, none, {', '.join(DEFECTS)}")
    if surface is not None and not DEFECTS[kind].can_be_on(surface):
        fitting = ", ".join(name for name in SURFACES if DEFECTS[kind].can_be_on(name))
        raise ConfigError(f"defect '{kind}' does not occur on surface '{surface}'; it suits: {fitting}")


def _draw_family(rng: np.random.Generator, kind: str | None) -> str:
    names, ladder = _odds(kind)
    return names[min(int(np.searchsorted(ladder, rng.random())), len(names) - 1)]


def _draw_defect(rng: np.random.Generator, family: str) -> str:
    fitting = [name for name, entry in DEFECTS.items() if entry.can_be_on(family)]
    return fitting[int(rng.integers(len(fitting)))]


def _scene(seed: int, attempt: int, family: str, size_px: int) -> tuple[Material, Shot]:
    """The material of a seed and the camera set up before it."""
    entry = SURFACES[family]
    material = entry.make(generator(seed, f"material/{family}/{attempt}"), size_px)
    camera = _camera_for(entry, material, generator(seed, f"camera/{attempt}"))
    return material, Shot(camera, seed, size_px)


def _camera_for(entry: Surface, material: Material, rng: np.random.Generator) -> Camera:
    camera = replace(draw_camera(rng), monochrome=rng.random() < entry.monochrome)
    if entry.adjust is not None:
        camera = entry.adjust(camera, rng)
    return metered(camera, material, entry.key, entry.metering) if entry.metering else camera


def _damaged(
    material: Material, shot: Shot, normal: np.ndarray, name: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """The photograph and mask of the material with one defect, or None where it cannot be seen or is too large."""
    worn = material.copy()
    support = DEFECTS[name].apply(worn, rng)
    image = shot.take(worn)
    change = cv2.absdiff(image, normal).max(axis=2)
    near = np.ones((3, 3), np.uint8)
    mask = cv2.morphologyEx(cv2.dilate((change >= FAINT).astype(np.uint8), near), cv2.MORPH_CLOSE, near) & support
    size = int(mask.sum())
    if size < 5e-4 * mask.size or size > MOST_SHARE * mask.size:
        return None
    if np.percentile(change[mask > 0], 90) < CLEAR:
        return None
    side = 2 * shot.camera.reach_px(shot.size_px) + 1
    reached = cv2.dilate(mask, np.ones((side, side), np.uint8))
    return np.where(reached[..., None] > 0, image, normal), mask
