"""What a good mask is: there, readable, of its photograph's size and not empty."""

import hashlib
from pathlib import Path

from farm.config import DataConfig
from farm.datasets.files import read_bytes
from farm.errors import DataError
from farm.images import decode_mask, image_size


def check_mask(mask: Path, size: tuple[int, int], config: DataConfig, root: Path) -> str:
    """The checksum of a mask that can be used; ``DataError`` with the reason otherwise."""
    where = mask.relative_to(root).as_posix()
    if not mask.exists():
        raise DataError(f"{where}: the mask is missing; draw it, or remove the photograph")
    data = read_bytes(mask, root, config.max_megapixels)
    found = image_size(data, where, config.max_megapixels)
    if found != size:
        raise DataError(
            f"{where}: the mask has {found[1]} x {found[0]} px but its photograph {size[1]} x {size[0]}; "
            "a mask must have its photograph's size"
        )
    if not decode_mask(data, where, config.max_megapixels).any():
        raise DataError(
            f"{where}: the mask is empty (no pixel above 127); mark the defect with 255, or move the photograph to good"
        )
    return hashlib.sha256(data).hexdigest()
