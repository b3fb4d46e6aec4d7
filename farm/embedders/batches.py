"""What every embedder does around its network: batches of one fixed size in, unit vectors out."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from farm.embedders import Pixels, Vectors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@torch.inference_mode()
def embed(network: Callable[[Tensor], Tensor], images: Pixels, dim: int, batch_size: int) -> Vectors:
    """Run ``network`` over ``images`` in batches of exactly ``batch_size``; (B, dim) float32 unit vectors.

    ``network`` maps (batch_size, 3, H, W) uint8 on the host to (batch_size, dim) features. The last batch is filled
    up with black images, whose vectors are dropped.
    """
    vectors = np.empty((len(images), dim), np.float32)
    for start in range(0, len(images), batch_size):
        block = images[start : start + batch_size]
        padded = np.zeros((batch_size, *images.shape[1:]), np.uint8)
        padded[: len(block)] = block
        pixels = torch.from_numpy(padded).permute(0, 3, 1, 2).contiguous()
        features = torch.nn.functional.normalize(network(pixels).float(), dim=1)
        vectors[start : start + batch_size] = features[: len(block)].cpu().numpy()
    return vectors
