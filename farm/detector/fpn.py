"""A feature pyramid over a pretrained encoder, with a pixel head and an image head.

Lin et al., "Feature Pyramid Networks for Object Detection" (2017), arXiv 1612.03144, section 3: lateral 1 x 1 and
smoothing 3 x 3 convolutions, top-down by doubling. Pixel head after Kirillov et al., "Panoptic Feature Pyramid
Networks" (2019), arXiv 1901.02446, section 3.1: all levels brought to the finest one and added. With GroupNorm.

The encoder is frozen in its statistics and no layer mixes rows, so a row's outputs depend on that row alone.
Shape letters: B rows, C channels (``width`` at every level), H, W of the image, h, w of a level.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from farm.config import DetectorConfig
from farm.detector.encoder import Encoder
from farm.detector.layers import conv_norm_relu, start_at_prior
from farm.detector.outputs import Outputs


class Fpn(nn.Module):
    """(B, 3, H, W) pixels 0..255 → pixel logits, at the finest level's stride and scaled up, and an image logit."""

    def __init__(self, config: DetectorConfig, pretrained: bool = True) -> None:
        """``pretrained`` False: the encoder's weights are left as drawn, since this network's own are loaded next."""
        super().__init__()
        width = config.width
        self.encoder = Encoder(config.encoder, config.encoder_weights, pretrained)
        levels = self.encoder.channels
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in levels)
        self.smooth = nn.ModuleList(nn.Sequential(*conv_norm_relu(width, width)) for _ in levels)
        self.head = nn.Conv2d(width, 2, 1)
        start_at_prior(self.head)
        self.image_head = nn.Linear(width * len(levels) + 1, 1)

    def forward(self, pixels_B3HW: Tensor) -> Outputs:
        """The image logit is linear in the means of all levels and in the largest log odds of a defect in the map."""
        pyramid = self._pyramid(self.encoder(pixels_B3HW))
        size = pyramid[0].shape[-2:]
        merged_BChw = sum((_scaled(level, size) for level in pyramid[1:]), pyramid[0])
        logits_B2hw = self.head(merged_BChw)
        highest_B1 = (logits_B2hw[:, 1] - logits_B2hw[:, 0]).flatten(1).amax(dim=1, keepdim=True)
        seen = torch.cat([*(level.mean(dim=(2, 3)) for level in pyramid), highest_B1], dim=1)
        return Outputs(_scaled(logits_B2hw, pixels_B3HW.shape[-2:]), self.image_head(seen)[:, 0])

    def _pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        """Levels (B, C, h, w), finest first."""
        *finer, x_BChw = (lateral(one) for lateral, one in zip(self.lateral, maps, strict=True))
        levels = [x_BChw]
        for lateral_BChw in reversed(finer):
            x_BChw = lateral_BChw + F.interpolate(x_BChw, size=lateral_BChw.shape[-2:], mode="nearest")
            levels.append(x_BChw)
        return [smooth(level) for smooth, level in zip(self.smooth, reversed(levels), strict=True)]


def _scaled(x_BChw: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x_BChw, size=size, mode="bilinear", align_corners=False)
