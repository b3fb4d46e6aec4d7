"""Procedural photographs of industrial surfaces, with and without defects, each a function of a seed."""

from farm.surfaces.camera import Camera, draw_camera, photograph
from farm.surfaces.catalogue import Pair, mask_shape, render, render_batch, texture
from farm.surfaces.defects import DEFECTS, Defect
from farm.surfaces.material import Material
from farm.surfaces.table import SURFACES, Surface

__all__ = [
    "DEFECTS",
    "SURFACES",
    "Camera",
    "Defect",
    "Material",
    "Pair",
    "Surface",
    "draw_camera",
    "mask_shape",
    "photograph",
    "render",
    "render_batch",
    "texture",
]
