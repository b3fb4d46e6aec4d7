"""What a photograph looks like to EfficientNet-Lite0 (ImageNet weights): the numbers under generation metrics.

Pooled features for KID and FID; flat features whose squared distance is LPIPS-style (Zhang et al. 2018, arXiv
1801.03924, Eq. (1), with unit weights on every channel) for diversity. Not comparable with numbers on Inception or VGG.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from farm.pretrained import efficientnet_lite0, efficientnet_lite0_features, scale_input

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]

SIZE_PX = 224
_STRIDES = (0, 1, 2)  # strides 2, 4 and 8


class Features:
    """Features of uint8 (B, H, W, 3) sRGB, in batches padded to one size: row i depends on image i alone."""

    name = "efficientnet_lite0/imagenet"

    def __init__(self, threads: int = 1, batch_size: int = 16) -> None:
        """``threads`` is set for the whole process: it decides the last bits of a feature."""
        torch.set_num_threads(threads)
        self._batch_size = batch_size

    def pooled(self, images: Pixels) -> Vectors:
        """(B, 1280) float32: the head's map averaged over the image, not scaled; images squashed to 224 x 224."""
        return self._run(self._pool, images)

    def perceptual(self, images: Pixels) -> Vectors:
        """(B, F) float32 at the images' own size: |a - b|^2 is the sum over strides 2, 4, 8 of the mean over places.

        Each place's channels have length 1 first. F is about 100,000 at 128 px.
        """
        return self._run(self._unit_maps, images)

    @torch.no_grad()
    def _run(self, network: Callable[[Tensor], Tensor], images: Pixels) -> Vectors:
        found = []
        for start in range(0, len(images), self._batch_size):
            rows = np.minimum(np.arange(start, start + self._batch_size), len(images) - 1)
            pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2)
            found.append(network(pixels)[: len(images) - start].numpy())
        return np.concatenate(found)

    def _pool(self, pixels_BCHW: Tensor) -> Tensor:
        resized = F.interpolate(pixels_BCHW.float(), (SIZE_PX, SIZE_PX), mode="bilinear", antialias=True)
        maps: Tensor = self._classifier.forward_features(scale_input(resized))  # type: ignore[operator]
        return maps.mean(dim=(2, 3))

    def _unit_maps(self, pixels_BCHW: Tensor) -> Tensor:
        maps = [F.normalize(level, dim=1, eps=1e-3) for level in self._encoder(scale_input(pixels_BCHW))]
        return torch.cat([(level / math.sqrt(level[0, 0].numel())).flatten(1) for level in maps], dim=1)

    @cached_property
    def _classifier(self) -> nn.Module:
        return efficientnet_lite0()

    @cached_property
    def _encoder(self) -> nn.Module:
        return efficientnet_lite0_features(_STRIDES)


def between(features: Vectors, others: Vectors) -> Vectors:
    """(N, M) squared distances of (N, F) and (M, F), never below 0."""
    squares = (features**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * features @ others.T
    return np.maximum(squares, np.float32(0))
