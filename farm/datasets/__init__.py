"""Real photographs: one file a layout, each giving a ``PhotoSet``. Adding one: a file and a case in ``load_photos``."""

from farm.config import DataConfig
from farm.datasets import btad, folder, ksdd2, loco, mvtec, textile, visa
from farm.datasets.photo import MaskChannel, Photo, PhotoSet, RefusedPhoto, ShotPhoto, TestPhoto, TrainPhoto
from farm.datasets.read import Channels, read_channels, read_mask, read_photo
from farm.errors import DataError

__all__ = [
    "Channels",
    "MaskChannel",
    "Photo",
    "PhotoSet",
    "RefusedPhoto",
    "ShotPhoto",
    "TestPhoto",
    "TrainPhoto",
    "load_photos",
    "read_channels",
    "read_mask",
    "read_photo",
]


def load_photos(config: DataConfig) -> PhotoSet:
    """The photographs that ``config`` names, split, each decoded once and hashed.

    Raises ``DataError`` for a folder that is missing, cannot be read or is laid out otherwise, a defect or few-shot
    list that is not there, too many bad files (the first 20 with reasons), or a picture in two splits.
    """
    try:
        match config.kind:
            case "mvtec":
                return mvtec.load(config)
            case "folder":
                return folder.load(config)
            case "textile":
                return textile.load(config)
            case "loco":
                return loco.load(config)
            case "btad":
                return btad.load(config)
            case "ksdd2":
                return ksdd2.load(config)
            case "visa":
                return visa.load(config)
    except OSError as error:
        raise DataError(
            f"{error.filename or config.root}: cannot be read ({error.strerror}); mend its permissions"
        ) from error
