"""Pixels of photographs and of their masks, of files that are still what was loaded."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from farm.datasets import textile
from farm.datasets.files import read_bytes
from farm.datasets.photo import MaskChannel, Photo
from farm.errors import DataError
from farm.images import Pixels, decode_image, decode_mask, decode_numbers, image_size, resize_image, resize_mask


@dataclass(frozen=True)
class Channels:
    """The K regions of a photograph's defect at its own resolution, for sPRO (card 005 section A)."""

    masks: Pixels  # (K, H, W) in {0, 1}; K = 0 for a good photograph
    saturations: npt.NDArray[np.float64]  # (K,) pixels of each that count as all of it, at most its area


def read_photo(photo: Photo, size_px: int, max_megapixels: float = 50.0) -> Pixels:
    """uint8 (size_px, size_px, 3) sRGB. Raises ``DataError`` if it cannot be decoded or is not what was loaded."""
    data = _unchanged(photo.path, photo.sha256, max_megapixels)
    image = decode_image(data, photo.path, max_megapixels)
    height, width = (side - textile.border_px(photo) for side in image.shape[:2])
    if not (height and width):
        raise DataError(f"{photo.path}: nothing is left of it without its white line; remove it")
    return resize_image(image[:height, :width], size_px)


def read_mask(photo: Photo, size_px: int, max_megapixels: float = 50.0) -> Pixels:
    """uint8 (size_px, size_px) in {0, 1}: the photograph's defect, all 0 for a good one.

    Raises ``DataError`` for a defect without a mask, or a mask that cannot be decoded.
    """
    if photo.defect is None:
        return np.zeros((size_px, size_px), np.uint8)
    return resize_mask(_masks(photo, max_megapixels).max(axis=0), size_px)


def read_channels(photo: Photo, max_megapixels: float = 50.0) -> Channels:
    """The regions that ``photo`` shows; a mask of 0 and 255 is one region, all of which is to be found.

    Raises ``DataError`` as ``read_mask`` does.
    """
    if photo.defect is None:
        size = image_size(_unchanged(photo.path, photo.sha256, max_megapixels), photo.path, max_megapixels)
        height, width = (side - textile.border_px(photo) for side in size)
        return Channels(np.zeros((0, height, width), np.uint8), np.zeros(0))
    masks = _masks(photo, max_megapixels)
    areas = masks.sum(axis=(1, 2), dtype=np.float64)
    if not photo.channels:
        return Channels(masks, areas)
    told = np.array([channel.saturation for channel in photo.channels])
    relative = [channel.relative for channel in photo.channels]
    return Channels(masks, np.minimum(np.where(relative, told * areas, told), areas))


def _masks(photo: Photo, max_megapixels: float) -> Pixels:
    """(K, H, W) in {0, 1} at the photograph's resolution: its channels, or its one mask."""
    if photo.mask_path is None:
        raise DataError(f"{photo.path}: shows '{photo.defect}' but has no mask; only image-level numbers can be had")
    if not photo.channels:
        data = _unchanged(photo.mask_path, photo.mask_sha256, max_megapixels)
        return decode_mask(data, photo.mask_path, max_megapixels)[None]
    return np.stack([_region(channel, max_megapixels) for channel in photo.channels])


def _region(channel: MaskChannel, max_megapixels: float) -> Pixels:
    data = _unchanged(channel.path, channel.sha256, max_megapixels)
    return (decode_numbers(data, channel.path, max_megapixels) > 0).astype(np.uint8)


def _unchanged(path: str, sha256: str, max_megapixels: float) -> bytes:
    data = read_bytes(Path(path), None, max_megapixels)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(
            f"{path}: the file has changed since the photographs were loaded; put the old one back or start anew"
        )
    return data
