"""The offline default: pooled features of EfficientNet-Lite0 with its packaged ImageNet weights (decision 7)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from farm.config import ComputeConfig
from farm.embedders import Pixels, Vectors
from farm.embedders.batches import DTYPES, embed
from farm.pretrained import efficientnet_lite0, scale_input

SIZE_PX = 224


class EfficientNetLite0:
    """1280-d embedder: the last feature map, averaged over the image, at length 1.

    Images of any size are squashed to 224 x 224 (bilinear, antialiased), the size of the network's training.
    """

    name = "efficientnet_lite0/imagenet"
    dim = 1280

    def __init__(self, compute: ComputeConfig) -> None:
        self._batch_size, self._device, self._dtype = compute.batch_size, compute.device, DTYPES[compute.dtype]
        self._model = efficientnet_lite0().to(self._device, self._dtype)

    def __call__(self, images: Pixels) -> Vectors:
        """(B, H, W, 3) uint8  ->  (B, 1280) float32 unit vectors."""
        return embed(self._features, images, self.dim, self._batch_size)

    def _features(self, pixels_BCHW: Tensor) -> Tensor:
        resized = F.interpolate(
            pixels_BCHW.to(self._device).float(), (SIZE_PX, SIZE_PX), mode="bilinear", antialias=True
        )
        maps: Tensor = self._model.forward_features(scale_input(resized).to(self._dtype))  # type: ignore[operator]
        return maps.to(torch.float32).mean(dim=(2, 3))
