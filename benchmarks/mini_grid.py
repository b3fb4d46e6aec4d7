"""A sheet of generated pictures, small enough for a repository."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROWS, EACH = 8, 4  # surfaces, and pictures of each kind
MOST_BYTES = 1_500_000


def write_grid(path: Path, generated: Mapping[str, np.ndarray], surfaces: Sequence[str]) -> list[str]:
    """Write the sheet; gives the surfaces of its rows, evenly spaced over those there are, in their order."""
    names = list(dict.fromkeys(surfaces))
    rows = [names[index] for index in np.linspace(0, len(names) - 1, min(ROWS, len(names))).round().astype(int)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(small_png(sheet(generated, surfaces, rows), MOST_BYTES))
    print(f"{path.name}: rows {', '.join(rows)}; columns: {EACH} each of {', '.join(generated)}")
    return rows


def sheet(generated: Mapping[str, np.ndarray], surfaces: Sequence[str], rows: Sequence[str]) -> np.ndarray:
    """uint8 (rows * side, kinds * EACH * side, 3); white where a surface has fewer pictures."""
    side = next(iter(generated.values())).shape[1]
    page = np.full((len(rows) * side, len(generated) * EACH * side, 3), 255, np.uint8)
    for top, name in enumerate(rows):
        members = [index for index, owner in enumerate(surfaces) if owner == name][:EACH]
        for block, images in enumerate(generated.values()):
            for place, index in enumerate(members):
                left = (block * EACH + place) * side
                page[top * side : (top + 1) * side, left : left + side] = images[index]
    return page


def small_png(pixels: np.ndarray, most: int) -> bytes:
    """PNG of at most ``most`` bytes: as it is, else in 256 colours, else smaller and smaller."""
    picture = Image.fromarray(pixels)
    data = _png(picture)
    if len(data) <= most:
        return data
    width, height = picture.size
    while len(data := _png(picture.quantize(256))) > most:
        width, height = width * 3 // 4, height * 3 // 4
        picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return data


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()
