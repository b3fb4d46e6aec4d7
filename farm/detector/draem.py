"""DRAEM: one network paints the image without its defect, a second one finds what changed.

Zavrtanik et al., "DRAEM - A discriminatively trained reconstruction embedding for surface anomaly detection" (2021),
arXiv 2108.07610, sections 3.1 and 3.2; channels and first weights as in the authors' code (twice ``width`` in the
reconstructing network: 128 and 64 there). The second network is the plain U-Net over reconstruction and image.

BatchNorm uses each worker's own rows, as in ``farm.detector.unet``. Shape letters: B rows, C channels, H, W.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from farm.detector.outputs import Outputs
from farm.detector.unet import PlainUnet, conv_block, conv_layer

LEVELS = (1, 2, 4, 8, 8)  # channels in multiples of the first, at strides 1, 2, 4, 8, 16


class Draem(nn.Module):
    """(B, 3, H, W) pixels 0..255 → pixel logits, and the reconstruction in [0, 1] (about: it is not clipped)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reconstruct = _Reconstruct(2 * width)
        self.discriminate = PlainUnet(width, inputs=6)
        self.apply(_start)

    def forward(self, pixels_B3HW: Tensor) -> Outputs:
        """Both networks, one after the other; the second one's loss reaches the first."""
        image_B3HW = pixels_B3HW / 255.0
        reconstruction_B3HW = self.reconstruct(image_B3HW)
        both_B6HW = torch.cat([reconstruction_B3HW, image_B3HW], dim=1)
        return Outputs(self.discriminate.logits(both_B6HW), reconstruction=reconstruction_B3HW)


class _Reconstruct(nn.Module):
    """An encoder and a decoder without skips: what is not of the normals' kind does not get through."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [level * width for level in LEVELS]
        self.down = nn.ModuleList(conv_block(i, o) for i, o in zip([3, *channels[:-1]], channels, strict=True))
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.Sequential(conv_layer(i, i), conv_block(i, o)) for i, o in pairs)
        self.head = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] → the same without what should not be there."""
        sizes = []
        for level, block in enumerate(self.down):
            x_BCHW = block(F.max_pool2d(x_BCHW, 2) if level else x_BCHW)
            sizes.append(x_BCHW.shape[-2:])
        for size, block in zip(sizes[-2::-1], self.up, strict=True):
            x_BCHW = block(F.interpolate(x_BCHW, size=size, mode="bilinear", align_corners=False))
        painted: Tensor = self.head(x_BCHW)
        return painted


def _start(module: nn.Module) -> None:
    """The authors' first weights: convolutions from N(0, 0.02), BatchNorm scales from N(1, 0.02)."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
