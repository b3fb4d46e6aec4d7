"""What makes a mask fit for use: it is there, can be read, has its photograph's size and is not empty.

A mask is one file of 0 and 255, or it is of numbers: a folder with a file for each region, whose number says what the
region shows (MVTec LOCO), or one file in which every number but 0 is defect (VisA, KolektorSDD2).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from farm.config import DataConfig
from farm.datasets.files import read_bytes
from farm.datasets.photo import SHOWN, MaskChannel
from farm.datasets.tree import hold_text, is_inside, photos_in
from farm.errors import DataError
from farm.ids import digest
from farm.images import Pixels, decode_mask, decode_numbers, image_size

LARGEST_NUMBER = 255


@dataclass(frozen=True)
class Region:
    """What a number in a mask means; ``saturation`` and ``relative`` as in ``MaskChannel``."""

    defect: str
    saturation: float
    relative: bool


Numbers = Mapping[int, Region]


def any_number(defect: str) -> Numbers:
    """Every number but 0 is ``defect``, all of which is to be found."""
    return dict.fromkeys(range(1, LARGEST_NUMBER + 1), Region(defect, 1.0, True))


def check_mask(mask: Path, size: tuple[int, int], config: DataConfig, root: Path) -> str:
    """The checksum of a mask of 0 and 255 that can be used; ``DataError`` with the reason otherwise."""
    data, where = _sized(mask, size, config, root)
    if not decode_mask(data, where, config.max_megapixels).any():
        raise DataError(
            f"{where}: the mask is empty (no pixel above 127); mark the defect with 255, or move the photograph to good"
        )
    return hashlib.sha256(data).hexdigest()


def check_channels(
    mask: Path, numbers: Numbers, size: tuple[int, int], config: DataConfig, root: Path
) -> tuple[MaskChannel, ...]:
    """The channels of a mask of numbers (a file, or a folder of files); ``DataError`` with the reason otherwise."""
    files = photos_in(mask) if mask.is_dir() and is_inside(mask, root) else [mask]
    if not files:
        raise DataError(f"{mask.relative_to(root).as_posix()}: holds no mask; draw one, or remove the photograph")
    return tuple(_channel(file, numbers, size, config, root) for file in files)


def channels_sum(channels: tuple[MaskChannel, ...]) -> str:
    """The checksum of what channels say: their files, and what of each must be found."""
    return digest("channels", [astuple(channel)[1:] for channel in channels]).hex()


def read_numbers(mask: Path, config: DataConfig, root: Path) -> Pixels:
    """The numbers of a mask, uint8 (H, W); ``DataError`` with the reason if it cannot be read."""
    data, where = _bytes(mask, config, root)
    return decode_numbers(data, where, config.max_megapixels)


def _channel(mask: Path, numbers: Numbers, size: tuple[int, int], config: DataConfig, root: Path) -> MaskChannel:
    data, where = _sized(mask, size, config, root)
    values = decode_numbers(data, where, config.max_megapixels)
    found = [int(number) for number in np.flatnonzero(np.bincount(values.ravel())) if number]
    unknown = [number for number in found if number not in numbers]
    if not found:
        raise DataError(f"{where}: the mask is empty (all 0); mark the defect, or move the photograph to good")
    if unknown:
        raise DataError(
            f"{where}: holds {_listed(unknown)}, which stands for no defect; known are {_listed(sorted(numbers))}. "
            "Take mask and list of defects from one version of the set"
        )
    regions = list(dict.fromkeys(numbers[number] for number in found))
    if len(regions) > 1:
        raise DataError(f"{where}: holds {_listed(found)}; a file is one region and has one number. Give each its file")
    region = regions[0]
    sha256 = hashlib.sha256(data).hexdigest()
    return MaskChannel(str(mask), sha256, region.defect, region.saturation, region.relative)


def _sized(mask: Path, size: tuple[int, int], config: DataConfig, root: Path) -> tuple[bytes, str]:
    """The bytes of a mask that has its photograph's size, and its name."""
    data, where = _bytes(mask, config, root)
    found = image_size(data, where, config.max_megapixels)
    if found != size:
        raise DataError(
            f"{where}: the mask has {found[1]} x {found[0]} px but its photograph {size[1]} x {size[0]}; "
            "a mask must have its photograph's size"
        )
    return data, where


def _bytes(mask: Path, config: DataConfig, root: Path) -> tuple[bytes, str]:
    where = mask.relative_to(root).as_posix()
    hold_text(mask, root)
    if not mask.exists():
        raise DataError(f"{where}: the mask is missing; draw it, or remove the photograph")
    return read_bytes(mask, root, config.max_megapixels), where


def _listed(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers[:SHOWN])
