"""YOLO segmentation as Ultralytics reads it: polygons, one line each, in shares of width and height.

images/train/<id>.png    labels/train/<id>.txt    data.yaml

Corners are middles of pixels. A polygon is the outer edge of one piece of the mask: holes are lost.
"""

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from farm.export.base import Format
from farm.export.contents import Contents
from farm.export.output import Output
from farm.export.pictures import Picture
from farm.images import Pixels

_THICKNESS = 0.25  # pixels to each side of a piece that is a point or a line: a polygon has an area


def _write(pictures: Iterable[Picture], contents: Contents, out: Output) -> None:
    for picture in pictures:
        lines = [_line(contents.defects.index(picture.label), polygon) for polygon in polygons(picture.mask)]
        out.write(f"images/train/{picture.name}.png", picture.image_png)
        out.write(f"labels/train/{picture.name}.txt", "".join(lines).encode())
    names = dict(enumerate(contents.defects))
    text = yaml.safe_dump({"train": "images/train", "val": "images/train", "names": names}, sort_keys=False)
    out.write("data.yaml", f"# val: give real photographs; these are the pictures of training\n{text}".encode())


def polygons(mask: Pixels) -> list[npt.NDArray[np.float64]]:
    """The outer edge of each piece (8-connected) of ``mask`` (H, W): (n, 2) of x and y in (0, 1), n at least 3."""
    height, width = mask.shape
    pieces, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = [_with_area(piece[:, 0].astype(np.float64)) for piece in pieces]
    return [(points + 0.5) / (width, height) for points in corners]


def _with_area(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``points`` (n, 2), or a thin box around them where they are one or two."""
    if len(points) > 2:
        return points
    one, other = points[0], points[-1]
    right, down = np.array([_THICKNESS, 0.0]), np.array([0.0, _THICKNESS])
    if one[0] > other[0]:
        one, other = other, one
    return np.stack([one - right - down, other + right - down, other + right + down, one - right + down])


def _line(label: int, polygon: npt.NDArray[np.float64]) -> str:
    return f"{label} " + " ".join(f"{value:.6f}" for value in polygon.ravel().tolist()) + "\n"


FORMAT = Format(
    name="yolo",
    write=_write,
    has_verdicts=False,
    about=(
        "YOLO segmentation: images in `images/train`, polygons in `labels/train` (the outer edge of each piece; holes "
        "are lost), class names in `data.yaml`. A normal has an empty label file. `val` names the pictures of training "
        "until you give real photographs."
    ),
)
