"""What a defect is, and the promise that its mask is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import cv2
import numpy as np

from farm.surfaces.material import Material

Painter = Callable[[Material, np.random.Generator], np.ndarray]

LEAST_SHARE = 0.001  # smaller supports are drawn again: nobody would see them
MOST_SHARE = 0.2
TRIES = 12
# A change below these is not seen and is undone, so that a label never covers what only arithmetic can find.
SEEN_ALBEDO, SEEN_ALBEDO_RATIO, SEEN_HEIGHT, SEEN_GLOSS = 0.003, 0.04, 0.05, 0.05


@dataclass(frozen=True)
class Defect:
    """One kind of fault: its words, the surfaces it can be on, and how it changes one."""

    name: str
    phrases: tuple[str, ...]  # what a caption may call it
    suits: frozenset[str] | None  # families it can be on; None = all
    apply: Painter  # edits the maps in place, returns the exact support of the change, uint8 (H, W) in {0, 1}

    def phrase(self, rng: np.random.Generator) -> str:
        """One of the phrases."""
        return self.phrases[int(rng.integers(len(self.phrases)))]

    def can_be_on(self, family: str) -> bool:
        """Whether surfaces of this family show this fault."""
        return self.suits is None or family in self.suits


def exact(paint: Painter) -> Painter:
    """A painter whose result is the support of its change: maps outside are untouched, bit for bit.

    ``paint`` edits the maps as it likes and returns where it meant to (H, W), > 0 inside. Whatever it did elsewhere,
    off the foreground, or too faintly to be seen is undone; a draw outside LEAST_SHARE..MOST_SHARE is drawn again,
    and if none of TRIES fits, the one nearest to LEAST_SHARE stands.
    """
    return _bounded(paint, beyond_rim=False)


def exact_at_rim(paint: Painter) -> Painter:
    """As ``exact``, but the support may take in the pixel beyond the foreground that the part's edge half covers."""
    return _bounded(paint, beyond_rim=True)


def _bounded(paint: Painter, beyond_rim: bool) -> Painter:
    @wraps(paint)
    def apply(material: Material, rng: np.random.Generator) -> np.ndarray:
        before = material.copy()
        allowed = material.foreground
        if beyond_rim:
            allowed = cv2.dilate(allowed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        best: tuple[float, Material, np.ndarray] | None = None
        for _ in range(TRIES):
            support = _settle(material, before, (paint(material, rng) > 0) & allowed)
            share = float(support.mean())
            if LEAST_SHARE <= share <= MOST_SHARE:
                return support.astype(np.uint8)
            miss = abs(np.log((share + 1e-9) / LEAST_SHARE))
            if share > 0 and (best is None or miss < best[0]):
                best = miss, material.copy(), support
            _copy_maps(before, material, np.ones_like(support))
        if best is None:
            raise RuntimeError(f"{paint.__name__} changed nothing on family '{material.family}' in {TRIES} draws")
        _copy_maps(best[1], material, best[2])
        return best[2].astype(np.uint8)

    return apply


def _settle(material: Material, before: Material, reach: np.ndarray) -> np.ndarray:
    """Undo what is out of ``reach`` (bool) or unseen; the bool support of what stays."""
    seen = np.abs(material.height - before.height) > SEEN_HEIGHT
    seen |= np.abs(material.gloss - before.gloss) > SEEN_GLOSS
    tolerance = np.float32(SEEN_ALBEDO) + np.float32(SEEN_ALBEDO_RATIO) * before.albedo
    for channel in range(3):
        seen |= np.abs(material.albedo[..., channel] - before.albedo[..., channel]) > tolerance[..., channel]
    seen &= reach
    filled = cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8), borderValue=0)
    support = (filled > 0) & reach
    _copy_maps(before, material, ~support)
    return np.asarray(support)


def _copy_maps(source: Material, target: Material, where: np.ndarray) -> None:
    np.copyto(target.albedo, source.albedo, where=where[..., None])
    np.copyto(target.height, source.height, where=where)
    np.copyto(target.gloss, source.gloss, where=where)
