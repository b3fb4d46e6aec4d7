"""Image embedders: photographs → unit vectors. The protocol and the one way in; backends are imported when asked for.

Every embedder pads each batch to ``compute.batch_size`` inside, so that the bytes of a row's vector depend neither on
its neighbours nor on their number (decision 3).
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from farm.config import ComputeConfig, EmbedConfig

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns photographs into unit vectors. Build it once per worker, then call it on many batches."""

    @property
    def name(self) -> str:
        """Model and weights in words, for cards and reports."""

    @property
    def dim(self) -> int:
        """Length D of a vector."""

    def __call__(self, images: Pixels) -> Vectors:
        """(B, H, W, 3) uint8 sRGB, any B  ->  (B, D) float32 of length 1. Row i depends on image i alone."""


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An embedder with a text tower into the same space (``EmbedConfig.reads_text``)."""

    def texts(self, sentences: Sequence[str]) -> Vectors:
        """N sentences  ->  (N, D) float32 of length 1."""


def load_embedder(config: EmbedConfig, compute: ComputeConfig) -> Embedder:
    """The embedder that ``config`` names, on ``compute.device``. Sets torch's thread count of this process.

    "pixels" imports no torch. Raises ``WeightsError`` if its weights are missing, unsafe or do not fit.
    """
    if config.kind == "pixels":
        from farm.embedders.pixels import MeanPixels

        return MeanPixels()
    import torch

    torch.set_num_threads(compute.threads)
    if config.kind == "open_clip":
        from farm.embedders.openclip import OpenClip

        return OpenClip(config, compute)
    if config.kind == "timm":
        from farm.embedders.timm_models import TimmModel

        return TimmModel(config, compute)
    if config.kind == "transformers":
        from farm.embedders.transformers_models import TransformersModel

        return TransformersModel(config, compute)
    from farm.embedders.efficientnet import EfficientNetLite0

    return EfficientNetLite0(compute)
