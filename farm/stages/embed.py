"""Rows with PNG images → rows with unit vectors. Failed rows keep zeros: they are rows all the same."""

import numpy as np
import numpy.typing as npt

from farm.embedders import Embedder
from farm.images import decode_image
from farm.rows import Array


class Embed:
    """Adds ``embedding`` to encoded rows."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def vectors(self, images: Array, names: Array) -> npt.NDArray[np.float32]:
        """(B, D) unit vectors of PNG ``images``; zeros where the PNG is empty. ``names`` are for messages."""
        vectors = np.zeros((len(images), self.embedder.dim), dtype=np.float32)
        there = [index for index, png in enumerate(images) if png]
        if there:
            pixels = np.stack([decode_image(images[index], f"image of {names[index]}") for index in there])
            vectors[there] = self.embedder(pixels)
        return vectors
