"""Which file ``train.detector.encoder_weights`` means, and its name. Needs no torch, so that a driver can ask."""

import hashlib
from pathlib import Path

from farm.errors import WeightsError

NAME = "model.safetensors"


def encoder_file(place: str) -> Path:
    """The safetensors file at ``place``, a file or a folder that holds ``model.safetensors``.

    Raises ``WeightsError`` where there is none: a pickle can run code when it is opened, so none is ever read.
    """
    path = Path(place).expanduser()
    file = path / NAME if path.is_dir() else path
    if file.suffix != ".safetensors":
        raise WeightsError(
            f"{file}: only safetensors are loaded, since a pickle can run code when opened. Where you trust it, load "
            "it with torch and write it with safetensors.torch.save_file"
        )
    if not file.is_file():
        raise WeightsError(f"{file}: is not there; set train.detector.encoder_weights to a safetensors file")
    return file


def encoder_digest(place: str) -> str:
    """SHA-256 of the file, which decides what is learned from it."""
    with encoder_file(place).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
