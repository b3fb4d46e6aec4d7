"""LPIPS-style distance with gradients (Zhang et al. 2018, arXiv 1801.03924, Eq. (1), unit weights on all channels).

The features of ``farm.perceptual_features``, for images in [-1, 1] on any device; distances are squared, as LPIPS is.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from farm.pretrained import efficientnet_lite0_features, scale_input

_STRIDES = (0, 1, 2)  # strides 2, 4 and 8


class Looks(nn.Module):
    """Images (B, 3, H, W) -> flat vectors (B, F): |a - b|^2 is the sum over strides of the mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.features = efficientnet_lite0_features(_STRIDES).requires_grad_(False)

    def forward(self, unit_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1]."""
        levels = self.features(scale_input((unit_BCHW + 1) * 127.5))
        maps = [F.normalize(level, dim=1, eps=1e-3) for level in levels]
        return torch.cat([(level / math.sqrt(level[0, 0].numel())).flatten(1) for level in maps], dim=1)


def distance(looks: Tensor, others: Tensor) -> Tensor:
    """(B,): squared distances of the rows of (B, F) to those of (B, F) or (1, F)."""
    return (looks - others).square().sum(1)
