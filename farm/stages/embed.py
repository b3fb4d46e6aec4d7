"""Rows with PNG images → rows with unit vectors. Failed rows keep zeros: they are rows all the same."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from farm import attempts
from farm.embedders import Embedder
from farm.images import decode_image
from farm.rows import POISONED, Array
from farm.stages.hands import Hands


class Embed:
    """Adds ``embedding`` to encoded rows."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def rows(self, columns: Mapping[str, Array], size: int, hands: Hands) -> npt.NDArray[np.float32]:
        """(B, D) unit vectors of the rows of a shard, ``size`` at a time; ``hands`` hears what is in hand.

        ``columns`` has row, sample_id, status, error, image_png and label_png. A row that ``hands`` calls poisoned is
        marked so in place, loses its pictures and keeps zeros.
        """
        places = {int(row): place for place, row in enumerate(columns["row"])}
        lost: dict[str, Any] = {"status": POISONED, "error": attempts.reason(), "image_png": b"", "label_png": b""}
        for row in hands.blame.poisoned:
            for name, value in lost.items():
                columns[name][places[row]] = value
        vectors = np.zeros((len(places), self.embedder.dim), dtype=np.float32)
        for numbers in attempts.batches(list(places), size, hands.blame.alone):
            hands.hold(numbers)
            chosen = [places[number] for number in numbers]
            vectors[chosen] = self.vectors(columns["image_png"][chosen], columns["sample_id"][chosen])
        return vectors

    def vectors(self, images: Array, names: Array) -> npt.NDArray[np.float32]:
        """(B, D) unit vectors of PNG ``images``; zeros where the PNG is empty. ``names`` are for messages."""
        vectors = np.zeros((len(images), self.embedder.dim), dtype=np.float32)
        there = [index for index, png in enumerate(images) if png]
        if there:
            pixels = np.stack([decode_image(images[index], f"image of {names[index]}") for index in there])
            vectors[there] = self.embedder(pixels)
        return vectors
