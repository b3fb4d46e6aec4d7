"""Networks that give each pixel the logits of (normal, defect), and what is read from these logits.

``efficientnet_unet``: EfficientNet-Lite0 with ImageNet weights and a small U-Net decoder. The encoder's BatchNorm
statistics are frozen and the decoder has GroupNorm, so a row's logits depend on that row alone: one worker with a
batch of 2B learns the same as two workers with B.
``unet``: the plain U-Net of the literature (``farm.detector.unet``), whose BatchNorm does depend on the batch.

Shape letters: B rows, C channels, H height, W width. Networks take pixels 0..255 as float32.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from farm.config import DetectorConfig
from farm.detector.unet import PlainUnet

SCORE_WINDOW = 21  # card 005: image score = max over AvgPool 21x21, stride 1, zero-padded, of the defect channel
DEFECT_PRIOR = 0.02  # share of defect pixels that an untrained head predicts (focal loss, Lin et al. 2017, section 4.1)
_GROUPS = 8


def build_detector(config: DetectorConfig, seed: int = 0) -> nn.Module:
    """The network of ``config``; (B, 3, H, W) pixels 0..255 float32 → (B, 2, H, W) logits.

    New layers are drawn from ``seed`` alone; torch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PlainUnet(config.width) if config.kind == "unet" else EfficientNetUnet(config.width)
        return model.to(memory_format=torch.channels_last)  # a tenth faster on CPUs


def anomaly_maps(logits_B2HW: Tensor) -> Tensor:
    """Probability of a defect in each pixel, (B, H, W) in [0, 1]."""
    return logits_B2HW.float().softmax(dim=1)[:, 1]


def image_scores(maps_BHW: Tensor) -> Tensor:
    """One score an image, (B,): max over the 21 x 21 zero-padded moving average of its map (card 005, section A)."""
    smooth = F.avg_pool2d(maps_BHW[:, None], SCORE_WINDOW, stride=1, padding=SCORE_WINDOW // 2)
    return smooth.flatten(1).amax(dim=1)


class EfficientNetUnet(nn.Module):
    """EfficientNet-Lite0 (strides 2 to 32) with a U-Net decoder that ends at stride 2 and is scaled up by 2.

    ``width`` is the number of channels at strides 2 and 4; strides 8 and 16 have 2 and 4 times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        from farm.pretrained import efficientnet_lite0_features

        self.encoder = efficientnet_lite0_features()
        *skips, deepest = self.encoder.feature_info.channels()  # type: ignore[operator, union-attr]
        outputs = [4 * width, 2 * width, width, width]
        inputs = [deepest, *outputs[:-1]]
        self.decoder = nn.ModuleList(
            _Up(below, skip, out) for below, skip, out in zip(inputs, reversed(skips), outputs, strict=True)
        )
        self.head = nn.Conv2d(width, 2, 1)
        start_at_prior(self.head)

    def forward(self, pixels_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) pixels 0..255 → (B, 2, H, W) logits."""
        from farm.pretrained import scale_input

        *skips, x_BCHW = self.encoder(scale_input(pixels_B3HW))
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            x_BCHW = up(x_BCHW, skip)
        return F.interpolate(self.head(x_BCHW), size=pixels_B3HW.shape[-2:], mode="bilinear", align_corners=False)

    def train(self, mode: bool = True) -> "EfficientNetUnet":
        """As in torch, but the encoder's normalisation statistics stay as they were trained on ImageNet."""
        super().train(mode)
        self.encoder.eval()
        return self


class _Up(nn.Module):
    """Scale up to the skip's size, join both, two 3 x 3 convolutions with GroupNorm."""

    def __init__(self, below: int, skip: int, out: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([below + skip, out, out]):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.GroupNorm(_groups(outputs), outputs),
                nn.ReLU(),
            ]
        self.convs = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        """(B, below, h, w) and (B, skip, H, W) → (B, out, H, W)."""
        x_BCHW = F.interpolate(x_BCHW, size=skip_BCHW.shape[-2:], mode="nearest")
        joined: Tensor = self.convs(torch.cat([x_BCHW, skip_BCHW], dim=1))
        return joined


def start_at_prior(head: nn.Conv2d) -> None:
    """Make an untrained two-way head predict ``DEFECT_PRIOR``: rare defects do not flood the first steps' loss."""
    assert head.bias is not None
    odds = torch.tensor(DEFECT_PRIOR / (1 - DEFECT_PRIOR))
    with torch.no_grad():
        head.bias.copy_(torch.stack([-odds.log() / 2, odds.log() / 2]))


def _groups(channels: int) -> int:
    return _GROUPS if channels % _GROUPS == 0 else 1
