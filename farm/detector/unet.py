"""The plain discriminative U-Net that the literature trains on synthetic defects (card 000, section 3).

Five poolings, ``width`` channels first (64 in the papers: DRAEM's discriminative network as used by AnomalyDiffusion
and DualAnoDiff), BatchNorm, two-way softmax. BatchNorm uses each worker's own rows, so two workers with half batches
do not give exactly what one worker gives with whole ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from farm.detector.outputs import Outputs

LEVELS = (1, 2, 4, 8, 8, 8)  # channels in multiples of the width, at strides 1, 2, 4, 8, 16, 32


class PlainUnet(nn.Module):
    """(B, 3, H, W) pixels 0..255 → logits of each pixel."""

    def __init__(self, width: int, inputs: int = 3) -> None:
        super().__init__()
        channels = [level * width for level in LEVELS]
        self.down = nn.ModuleList(conv_block(i, o) for i, o in zip([inputs, *channels[:-1]], channels, strict=True))
        self.reduce = nn.ModuleList(
            conv_layer(below, skip) for below, skip in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.up = nn.ModuleList(conv_block(2 * skip, skip) for skip in channels[-2::-1])
        self.head = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, pixels_B3HW: Tensor) -> Outputs:
        """Logits of (normal, defect) for each pixel."""
        return Outputs(self.logits(pixels_B3HW / 255.0))

    def logits(self, x_BCHW: Tensor) -> Tensor:
        """(B, ``inputs``, H, W) in [0, 1] → (B, 2, H, W)."""
        skips = []
        for level, block in enumerate(self.down):
            x_BCHW = block(F.max_pool2d(x_BCHW, 2) if level else x_BCHW)
            skips.append(x_BCHW)
        skips.pop()
        for reduce, block in zip(self.reduce, self.up, strict=True):
            skip = skips.pop()
            scaled = F.interpolate(x_BCHW, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x_BCHW = block(torch.cat([reduce(scaled), skip], dim=1))
        logits: Tensor = self.head(x_BCHW)
        return logits


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    """Two of ``conv_layer``."""
    return nn.Sequential(*conv_layer(inputs, outputs), *conv_layer(outputs, outputs))


def conv_layer(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 x 3 convolution, BatchNorm and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())
