"""Thumbnails of at most 128 px as data URIs: photographs as JPEG, overlays on them as PNG with transparency.

A picture that cannot be decoded is None: the page says so instead of failing.
"""

import base64
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from farm.heat import heat_colours

WIDTH_PX = 128
_HEIGHT_PX = 256
_QUALITIES = (85, 70, 50, 30)
_MAX_BYTES = 9000  # so that 300 samples of five pictures stay below 15 MB as text
_TARGET_RGB = (0, 229, 255)  # outline of the mask that was asked for
_LABEL_RGB = (255, 45, 146)  # the refined mask
_HEAT_LEVELS = 32

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A data URI with its size in px."""

    uri: str
    width: int
    height: int


def photograph(data: bytes) -> Picture | None:
    """A thumbnail of an encoded picture."""
    return _photograph(io.BytesIO(data), None) if data else None


def photograph_file(path: Path, max_megapixels: float) -> Picture | None:
    """A thumbnail of a picture file; None where it is larger than ``max_megapixels``, which is not decoded."""
    return _photograph(path, max_megapixels)


def target_outline(data: bytes, size: tuple[int, int]) -> Picture | None:
    """The outline of a mask (0 and 255), transparent elsewhere, for a thumbnail of ``size`` (width, height)."""
    mask = _grey(data, size)
    return None if mask is None else _overlay(*_outlined(mask > 0, _TARGET_RGB, 0), size)


def label_area(data: bytes, size: tuple[int, int]) -> Picture | None:
    """The area of a label (0 and 255), tinted and outlined, for a thumbnail of ``size`` (width, height)."""
    label = _grey(data, size)
    return None if label is None else _overlay(*_outlined(label > 0, _LABEL_RGB, 90), size)


def heat(data: bytes, size: tuple[int, int]) -> Picture | None:
    """An 8-bit heat map as colours that are clear where it is 0, for a thumbnail of ``size`` (width, height)."""
    values = _grey(data, size, Image.Resampling.BILINEAR)
    if values is None:
        return None
    levels = np.round(values / 255 * (_HEAT_LEVELS - 1)).astype(np.uint8)
    return _overlay(levels, _heat_palette(), size)


def _photograph(source: Path | io.BytesIO, max_megapixels: float | None) -> Picture | None:
    try:
        with Image.open(source) as found:
            if max_megapixels is not None and found.width * found.height > max_megapixels * 1e6:
                return None
            found.draft("RGB", (2 * WIDTH_PX, 2 * WIDTH_PX))
            image = _small(_eight_bit(found).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return Picture(_uri("jpeg", _jpeg(image)), *image.size)


def _jpeg(image: Image.Image) -> io.BytesIO:
    """``image`` in at most about ``_MAX_BYTES``: only noise needs less than the first quality."""
    for quality in _QUALITIES:
        sink = io.BytesIO()
        image.save(sink, "JPEG", quality=quality, subsampling=0, optimize=True)
        if sink.tell() <= _MAX_BYTES:
            break
    return sink


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit greys scaled to 8 bits, which Pillow would clip."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8))


def _small(image: Image.Image) -> Image.Image:
    scale = min(1.0, WIDTH_PX / image.width, _HEIGHT_PX / image.height)
    if scale == 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _grey(
    data: bytes, size: tuple[int, int], resample: Image.Resampling = Image.Resampling.BOX
) -> npt.NDArray[np.float64] | None:
    try:
        with Image.open(io.BytesIO(data)) as found:
            return np.asarray(found.convert("L").resize(size, resample), np.float64)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _outlined(area: npt.NDArray[np.bool_], colour: tuple[int, int, int], tint: int) -> tuple[Pixels, list[int]]:
    """Palette indices (0 clear, 1 dark halo, 2 colour, 3 tint) and the RGBA palette of an area's outline."""
    inside = area.astype(np.uint8)
    ring = cv2.dilate(inside, np.ones((3, 3), np.uint8)) - inside
    halo = cv2.dilate(ring, np.ones((3, 3), np.uint8)) - inside
    indices = np.where(ring > 0, 2, np.where(halo == 1, 1, np.where(area, 3, 0))).astype(np.uint8)
    return indices, [0, 0, 0, 0, 0, 0, 0, 150, *colour, 255, *colour, tint]


@cache
def _heat_palette() -> list[int]:
    return [int(value) for value in np.round(heat_colours(np.linspace(0, 1, _HEAT_LEVELS)) * 255).ravel()]


def _overlay(indices: Pixels, palette: list[int], size: tuple[int, int]) -> Picture:
    image = Image.fromarray(indices)
    image.putpalette([palette[at + channel] for at in range(0, len(palette), 4) for channel in range(3)])
    sink = io.BytesIO()
    image.save(sink, "PNG", optimize=True, transparency=bytes(palette[3::4]))
    return Picture(_uri("png", sink), *size)


def _uri(kind: str, sink: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(sink.getvalue()).decode()}"
