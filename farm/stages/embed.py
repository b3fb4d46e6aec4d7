"""Rows with PNG images → rows with unit vectors. Failed rows keep zeros: they are rows all the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from farm import attempts
from farm.config import EmbedConfig
from farm.crops import WINDOWS, Pixels, cut, row_windows, shows
from farm.embedders import Embedder, TextEmbedder
from farm.images import decode_image, decode_mask
from farm.index import cosine_pairs
from farm.rows import EMBEDDINGS, POISONED, Array, Batch
from farm.stages.hands import Free, Hands

Vectors = npt.NDArray[np.float32]
TAKES = ("row", "sample_id", "status", "error", "prompt", "normal_prompt", "image_png", "label_png")
CHANGES = ("status", "error", "image_png", "label_png")  # of a row that an embedder cannot bear


class Embed:
    """Makes ``rows.EMBEDDINGS`` of encoded rows. Build once per worker."""

    def __init__(self, embedder: Embedder, config: EmbedConfig) -> None:
        self.embedder = embedder
        self._crops, self._text_margin = config.crops, config.text_margin
        self._texts: dict[str, Vectors] = {}

    def rows(self, columns: Mapping[str, Array], size: int, hands: Hands | None = None) -> Batch:
        """``rows.EMBEDDINGS`` of the rows of a shard, ``size`` at a time; ``hands`` hears what is in hand.

        ``columns`` has ``TAKES``. A row that ``hands`` calls poisoned is marked so in place, loses its pictures and
        keeps zeros.
        """
        hands = hands or Free()
        places = {int(row): place for place, row in enumerate(columns["row"])}
        lost: dict[str, Any] = {"status": POISONED, "error": attempts.reason(), "image_png": b"", "label_png": b""}
        for row in hands.blame.poisoned:
            for name, value in lost.items():
                columns[name][places[row]] = value
        made = self._empty(len(places))
        for numbers in attempts.batches(list(places), size, hands.blame.alone):
            hands.hold(numbers)
            chosen = [place for place in (places[number] for number in numbers) if columns["image_png"][place]]
            if chosen:
                part = self._made({name: columns[name][chosen] for name in TAKES})
                for name, values in part.items():
                    made[name][chosen] = values
        return made

    def _made(self, columns: Mapping[str, Array]) -> Batch:
        """``rows.EMBEDDINGS`` of rows that have an image."""
        names = [f"of {name}" for name in columns["sample_id"]]
        images = [decode_image(png, f"image {name}") for png, name in zip(columns["image_png"], names, strict=True)]
        labels = [decode_mask(png, f"label {name}") for png, name in zip(columns["label_png"], names, strict=True)]
        whole = self.embedder(np.stack(images))
        margins = self._margins(whole, columns["prompt"], columns["normal_prompt"])
        return {"embedding": whole, "crops": self._local(images, labels), "text_margin": margins}

    def _local(self, images: list[Pixels], labels: list[Pixels]) -> Vectors:
        """(B, E); zeros for a window of the grid that shows the defect, since the grid is for what is around it."""
        windows = [row_windows(label, self._crops) for label in labels]
        crops = [cut(*pair) for pair in zip(images, windows, strict=True)]
        vectors = self.embedder(np.concatenate(crops)).reshape(len(images), -1, self.embedder.dim)
        for row, label in enumerate(labels):
            vectors[row, [place > 0 and shows(label, one) for place, one in enumerate(windows[row])]] = 0
        return vectors.reshape(len(images), -1)

    def _margins(self, images: Vectors, prompts: Array, normals: Array) -> npt.NDArray[np.float32]:
        if not self._text_margin:
            return np.full(len(images), np.nan, np.float32)
        wanted, unwanted = (np.concatenate([self._text(str(text)) for text in texts]) for texts in (prompts, normals))
        return (cosine_pairs(images, wanted) - cosine_pairs(images, unwanted)).astype(np.float32)

    def _text(self, sentence: str) -> Vectors:
        """(1, D); a run has few prompts, so each is read once."""
        if sentence not in self._texts:
            assert isinstance(self.embedder, TextEmbedder), "EmbedConfig lets text_margin through for these alone"
            self._texts[sentence] = self.embedder.texts([sentence])
        return self._texts[sentence]

    def _empty(self, count: int) -> Batch:
        sizes: dict[str, Sequence[int]] = {
            "embedding": (self.embedder.dim,),
            "crops": (WINDOWS[self._crops] * self.embedder.dim,),
            "text_margin": (),
        }
        return {column.name: np.zeros((count, *sizes[column.name]), np.float32) for column in EMBEDDINGS}
