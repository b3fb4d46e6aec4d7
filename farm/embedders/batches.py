"""What every embedder does around its network: batches of one fixed size in, unit vectors out."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from farm.embedders import Pixels, Vectors
from farm.errors import WeightsError
from farm.model_files import first_line

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


def vector_length(network: Callable[[Tensor], Tensor], name: str) -> int:
    """D of what ``network`` gives, tried on a small picture.

    Raises ``WeightsError`` where it takes no picture, gives no vector, or another one each time (a model that masks
    its input at random).
    """
    picture = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(1, 3, 8, 8)
    try:
        first, second = network(picture), network(picture)
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, KeyError) as error:
        raise WeightsError(
            f"{name}: cannot embed a picture: {first_line(error)}; give an image model with the preprocessing that "
            "belongs to it"
        ) from error
    if first.ndim != 2 or not torch.equal(first, second):
        found = f"features of shape {tuple(first.shape)}" if first.ndim != 2 else "another vector each time"
        raise WeightsError(f"{name}: gives {found} for one picture; give an image model that gives one vector")
    return int(first.shape[1])
