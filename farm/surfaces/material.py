"""What a surface is before the camera sees it: four maps and a few words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Material:
    """The maps of one surface before the camera; arrays are writable, a defect edits them in place."""

    albedo: np.ndarray  # float32 (H, W, 3), linear reflectance 0..1
    height: np.ndarray  # float32 (H, W), relief in units of 1/128 of the image side
    gloss: np.ndarray  # float32 (H, W), 0 matte .. 1 mirror-like
    foreground: np.ndarray  # bool (H, W), where the part is; all True for textures
    family: str  # key in SURFACES, e.g. "brushed_metal"
    phrase: str  # words for the caption, e.g. "brushed metal"
    grain_rad: float  # main direction of the texture, radians (0 = along x)

    def copy(self) -> Material:
        """The same surface on arrays of its own."""
        return Material(
            albedo=self.albedo.copy(),
            height=self.height.copy(),
            gloss=self.gloss.copy(),
            foreground=self.foreground.copy(),
            family=self.family,
            phrase=self.phrase,
            grain_rad=self.grain_rad,
        )

    @property
    def size_px(self) -> int:
        """The side of the maps in pixels."""
        return int(self.height.shape[0])
