"""Pixels of photographs and of their masks, of files that are still what was loaded."""

import hashlib
from pathlib import Path

import numpy as np

from farm.datasets import textile
from farm.datasets.files import read_bytes
from farm.datasets.photo import Photo
from farm.errors import DataError
from farm.images import Pixels, decode_image, decode_mask, resize_image, resize_mask


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
    if photo.mask_path is None:
        raise DataError(f"{photo.path}: shows '{photo.defect}' but has no mask; only image-level numbers can be had")
    data = _unchanged(photo.mask_path, photo.mask_sha256, max_megapixels)
    return resize_mask(decode_mask(data, photo.mask_path, max_megapixels), size_px)


def _unchanged(path: str, sha256: str, max_megapixels: float) -> bytes:
    data = read_bytes(Path(path), None, max_megapixels)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(
            f"{path}: the file has changed since the photographs were loaded; put the old one back or start anew"
        )
    return data
