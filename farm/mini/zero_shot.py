"""What a picture shows, told by text alone: which surface, and whether there is a defect on it.

The protocol (prompt ensembles as in Radford et al. 2021, arXiv 2103.00020, section 3.1.4: the mean of unit text
vectors, made unit again). Nothing is fitted to pictures; each answer is the nearest text.

- Surface: a class each, "a photo of <word>" over the words of ``farm.mini.sentences.WORDS``.
- Defect or none, on a surface that is given, else on the one just named: two classes over the same words, sound
  (``SOUND_ENDINGS``, ``SOUND_WORDS``) and faulty (``FAULT_ENDINGS``, ``FAULT_WORDS``). The margin is the difference of
  the two similarities, and a picture is defective where it is above 0.
"""

from collections.abc import Sequence

import numpy as np

from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import Pixels, TextEmbedder, Vectors
from farm.errors import ConfigError
from farm.mini.sentences import FAULT_ENDINGS, FAULT_WORDS, SOUND_ENDINGS, SOUND_WORDS, WORDS, states


class ZeroShot:
    """Names surfaces and defects by text; the prompts are encoded once, when this is built."""

    def __init__(self, towers: TextEmbedder, surfaces: Sequence[str] = tuple(WORDS)) -> None:
        """``surfaces``: the names to choose from, keys of ``WORDS``; another name raises ``ConfigError``."""
        unknown = [name for name in surfaces if name not in WORDS]
        if unknown:
            raise ConfigError(f"surface '{unknown[0]}' has no words; choose from: {', '.join(WORDS)}")
        self.towers, self.surfaces = towers, tuple(surfaces)
        words = [WORDS[name] for name in surfaces]
        self._named = np.stack([ensemble(towers, states(some, ("",), ())) for some in words])
        self._sound = np.stack([ensemble(towers, states(some, SOUND_ENDINGS, SOUND_WORDS)) for some in words])
        self._faulty = np.stack([ensemble(towers, states(some, FAULT_ENDINGS, FAULT_WORDS)) for some in words])

    def names(self, images: Pixels) -> list[str]:
        """The surface of each of (B, H, W, 3) uint8 pictures."""
        return self.names_of(self.towers(images))

    def margin(self, images: Pixels, surfaces: Sequence[str] | None = None) -> Vectors:
        """(B,) float32: similarity to "faulty" less similarity to "sound", on ``surfaces`` or on the named ones."""
        return self.margin_of(self.towers(images), surfaces)

    def defective(self, images: Pixels, surfaces: Sequence[str] | None = None) -> np.ndarray:
        """(B,) bool: where the margin is above 0."""
        return self.margin(images, surfaces) > 0

    def names_of(self, vectors: Vectors) -> list[str]:
        """``names`` of pictures whose unit vectors (B, D) are known."""
        return [self.surfaces[index] for index in (vectors @ self._named.T).argmax(axis=1)]

    def margin_of(self, vectors: Vectors, surfaces: Sequence[str] | None = None) -> Vectors:
        """``margin`` of pictures whose unit vectors (B, D) are known."""
        given = self.names_of(vectors) if surfaces is None else surfaces
        unknown = [name for name in given if name not in self.surfaces]
        if unknown:
            raise ConfigError(f"surface '{unknown[0]}' is not one of this model's: {', '.join(self.surfaces)}")
        which = [self.surfaces.index(name) for name in given]
        margins: Vectors = np.einsum("bd,bd->b", vectors, self._faulty[which] - self._sound[which])
        return margins


def ensemble(towers: TextEmbedder, sentences: Sequence[str]) -> Vectors:
    """(D,) float32: the mean of the sentences' unit vectors, made unit again."""
    mean = towers.texts(sentences).mean(axis=0)
    unit: Vectors = mean / np.linalg.norm(mean)
    return unit


def load_zero_shot(compute: ComputeConfig | None = None) -> ZeroShot:
    """The embedded CLIP with its prompts. Raises ``WeightsError`` where its weights are not installed."""
    from farm.embedders.openclip import OpenClip

    config = EmbedConfig(kind="open_clip", model="embedded")
    return ZeroShot(OpenClip(config, compute or ComputeConfig()))
