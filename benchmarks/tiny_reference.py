"""A reader of the tiny autoencoders of https://github.com/madebyollin/taesd (MIT) with a normalised middle: TAEF2.

The layout, read from their state dicts: 3 x 3 convolutions of 64 channels, residual blocks of three, halving and
doubling three times; next to the latents each block begins with a residual 1 x 1 - GroupNorm(4) - ReLU - 1 x 1.
Pictures are in [0, 1]; the decoder squashes its latents with 3 tanh(z / 3).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

WIDTH, MIDDLE = 64, 256


class Block(nn.Module):
    """relu(conv(x) + x), behind the pool where ``middle``."""

    def __init__(self, middle: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(), nn.ReLU(), _conv(), nn.ReLU(), _conv())
        self.pool: nn.Module | None = None
        if middle:
            down, up = nn.Conv2d(WIDTH, MIDDLE, 1, bias=False), nn.Conv2d(MIDDLE, WIDTH, 1, bias=False)
            self.pool = nn.Sequential(down, nn.GroupNorm(4, MIDDLE), nn.ReLU(), up)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class Squash(nn.Module):
    """3 tanh(z / 3)."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


class Reference:
    """The autoencoder in ``folder`` (``taef2_encoder.pth``, ``taef2_decoder.pth``)."""

    def __init__(self, folder: Path) -> None:
        weights = [torch.load(folder / f"taef2_{half}.pth", weights_only=True) for half in ("encoder", "decoder")]
        self.encoder = _encoder(weights[0]["14.bias"].numel())
        self.decoder = _decoder(weights[0]["14.bias"].numel())
        for network, state in zip((self.encoder, self.decoder), weights, strict=True):
            network.float().load_state_dict({name: value.float() for name, value in state.items()})
            network.eval()

    def round_trip(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 encoded and decoded."""
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        y = self.decoder(self.encoder(x)).clamp(0, 1)
        return (y * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _conv(inputs: int = WIDTH, outputs: int = WIDTH, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)


def _encoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(3), Block(middle=False)]
    for level in range(3):
        layers += [_conv(stride=2, bias=False), *(Block(middle=level == 2) for _ in range(3))]
    return nn.Sequential(*layers, _conv(outputs=channels))


def _decoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [Squash(), _conv(channels), nn.ReLU()]
    for level in range(3):
        layers += [*(Block(middle=level == 0) for _ in range(3)), nn.Upsample(scale_factor=2), _conv(bias=False)]
    return nn.Sequential(*layers, Block(middle=False), _conv(outputs=3))
