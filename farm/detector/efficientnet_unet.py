"""EfficientNet-Lite0 with ImageNet weights and a small U-Net decoder.

The encoder's BatchNorm statistics are frozen and the decoder has GroupNorm, so a row's logits depend on that row alone:
one worker with a batch of 2B learns the same as two workers with B.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from farm.detector.layers import conv_norm_relu, start_at_prior
from farm.detector.outputs import Outputs
from farm.pretrained import efficientnet_lite0_features, scale_input


class EfficientNetUnet(nn.Module):
    """EfficientNet-Lite0 (strides 2 to 32) with a U-Net decoder that ends at stride 2 and is scaled up by 2.

    ``width`` is the number of channels at strides 2 and 4; strides 8 and 16 have 2 and 4 times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = efficientnet_lite0_features()
        *skips, deepest = self.encoder.feature_info.channels()  # type: ignore[operator, union-attr]
        outputs = [4 * width, 2 * width, width, width]
        inputs = [deepest, *outputs[:-1]]
        self.decoder = nn.ModuleList(
            _Up(below, skip, out) for below, skip, out in zip(inputs, reversed(skips), outputs, strict=True)
        )
        self.head = nn.Conv2d(width, 2, 1)
        start_at_prior(self.head)

    def forward(self, pixels_B3HW: Tensor) -> Outputs:
        """(B, 3, H, W) pixels 0..255 → logits of each pixel."""
        *skips, x_BCHW = self.encoder(scale_input(pixels_B3HW))
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            x_BCHW = up(x_BCHW, skip)
        logits = F.interpolate(self.head(x_BCHW), size=pixels_B3HW.shape[-2:], mode="bilinear", align_corners=False)
        return Outputs(logits)

    def train(self, mode: bool = True) -> "EfficientNetUnet":
        """As in torch, but the encoder's normalisation statistics stay as they were trained on ImageNet."""
        super().train(mode)
        self.encoder.eval()
        return self


class _Up(nn.Module):
    """Scale up to the skip's size, join both, two 3 x 3 convolutions with GroupNorm."""

    def __init__(self, below: int, skip: int, out: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*conv_norm_relu(below + skip, out), *conv_norm_relu(out, out))

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        """(B, below, h, w) and (B, skip, H, W) → (B, out, H, W)."""
        x_BCHW = F.interpolate(x_BCHW, size=skip_BCHW.shape[-2:], mode="nearest")
        joined: Tensor = self.convs(torch.cat([x_BCHW, skip_BCHW], dim=1))
        return joined
