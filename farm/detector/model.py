"""The networks of ``train.detector.kind``: pixels 0..255 in, ``Outputs`` out, whatever the kind.

efficientnet_unet   EfficientNet-Lite0 and a small U-Net decoder; a row's logits depend on that row alone
fpn                 any pretrained encoder, a feature pyramid, and an image head; rows alone, too
unet                the plain discriminative U-Net of the literature; its BatchNorm depends on the batch
draem               reconstruct, then discriminate (DRAEM); BatchNorm too
"""

import torch
from torch import nn

from farm.config import DetectorConfig


def build_detector(config: DetectorConfig, seed: int = 0, pretrained: bool = True) -> nn.Module:
    """The network of ``config``; (B, 3, H, W) pixels 0..255 float32 → ``farm.detector.outputs.Outputs``.

    New layers are drawn from ``seed`` alone; torch's global generator is left as it was. ``pretrained`` False is for a
    network whose own weights are loaded next: no encoder is fetched for it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _network(config, pretrained).to(memory_format=torch.channels_last)  # a tenth faster on CPUs


def _network(config: DetectorConfig, pretrained: bool) -> nn.Module:
    match config.kind:
        case "efficientnet_unet":
            from farm.detector.efficientnet_unet import EfficientNetUnet

            return EfficientNetUnet(config.width)
        case "fpn":
            from farm.detector.fpn import Fpn

            return Fpn(config, pretrained)
        case "unet":
            from farm.detector.unet import PlainUnet

            return PlainUnet(config.width)
        case "draem":
            from farm.detector.draem import Draem

            return Draem(config.width)
