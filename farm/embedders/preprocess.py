"""What a picture goes through before a tower sees it: resized, cropped or padded at the centre, normalised.

open_clip, timm and transformers do these to one picture at a time, with small differences that are settings here;
``preprocess`` does them to a whole batch. Resizing is antialiased, on the host and in uint8: torch's kernel follows
Pillow's (a pixel in a hundred differs by one level of 255). Pillow from version 13 on resizes vertically first where
height shrinks far more than width; torch never does, and there a pixel in five differs, by one level or two.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import functional as TF

Size = tuple[int, int]  # height, width
Rest = Literal["round", "floor"]


@dataclass(frozen=True)
class Preprocessing:
    """The settings of a tower's preprocessing; mean and spread are of pixels in [0, 1]."""

    resize: Size
    mode: Literal["shortest", "longest", "squash"]  # pictures are resized to cover ``resize``, to fit inside it, to it
    interpolation: Literal["bilinear", "bicubic"]
    size: Size  # of the tower's input: cropped or padded to at the centre
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fill: tuple[int, int, int] = (0, 0, 0)  # of what is padded
    rest: Rest = "round"  # where a crop begins that cannot be central: n + 1/2 pixels become the even neighbour, or n


def preprocess(pixels_BCHW: Tensor, settings: Preprocessing) -> Tensor:
    """(B, 3, H, W) uint8 on the host  ->  (B, 3, *size) float32, as the tower's own library makes it."""
    height, width = _resized(pixels_BCHW.shape[2], pixels_BCHW.shape[3], settings.resize, settings.mode)
    resized = F.interpolate(pixels_BCHW, (height, width), mode=settings.interpolation, antialias=True)
    centred = _centred(resized, settings)
    normalised: Tensor = TF.normalize(centred.float() / 255, settings.mean, settings.std)
    return normalised


def _resized(height: int, width: int, target: Size, mode: str) -> Size:
    """The size before cropping: ``shortest`` covers the target, ``longest`` fits inside it, ``squash`` is it."""
    if mode == "squash":
        return target
    if mode == "shortest" and target[0] == target[1]:  # torchvision's rule: the long side is rounded down
        short = min(height, width)
        return int(target[0] * height / short), int(target[0] * width / short)
    ratios = (height / target[0], width / target[1])
    ratio = max(ratios) if mode == "longest" else min(ratios)
    return round(height / ratio), round(width / ratio)


def _centred(pixels_BCHW: Tensor, settings: Preprocessing) -> Tensor:
    """Pixels cropped or padded to ``settings.size``, each axis by itself."""
    fill = torch.tensor(settings.fill, dtype=pixels_BCHW.dtype)
    canvas = fill[None, :, None, None].repeat(len(pixels_BCHW), 1, *settings.size)
    (top, above, rows), (left, before, columns) = (
        _overlap(found, wanted, settings.rest)
        for found, wanted in zip(pixels_BCHW.shape[2:], settings.size, strict=True)
    )
    taken = pixels_BCHW[:, :, top : top + rows, left : left + columns]
    canvas[:, :, above : above + rows, before : before + columns] = taken
    return canvas


def _overlap(found: int, wanted: int, rest: Rest) -> tuple[int, int, int]:
    """Of an axis: the first pixel taken, where it is put, and how many are."""
    if found <= wanted:
        return 0, (wanted - found) // 2, found
    first = (found - wanted) / 2
    return round(first) if rest == "round" else int(first), 0, wanted
