"""A fixed linear encoder: the principal components of 8 x 8 pixel blocks (Karhunen-Loeve transform), whitened.

No linear map of a block to so few numbers loses less, and it needs seconds, not hours. An ``AutoencoderKL`` can hold
it: its residual blocks become identities, its stride-2 convolutions gather 2 x 2 neighbourhoods and project. Two layers
stand in the way of a linear map, and both are undone: SiLU(x) - SiLU(-x) = x, so every latent is carried twice, with
both signs; and group normalisation divides by a constant where constants of size ``CARRIER`` outweigh the latents in
every group. Only the decoder is learned. The latents are known before it is, so the noise predictor learns beside it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import nn

from farm.ids import generator

SIDE = 8
CARRIER = 300.0  # of latents of unit variance: the normalisation then bends them by 1 part in 100,000
LOG_VARIANCE = -14.0  # of the posterior: a standard deviation of 0.001

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """Mean (192,) of blocks in [0, 1], leading directions (192, C) and their standard deviations (C,)."""

    mean: Floats
    basis: Floats
    std: Floats

    def project(self, blocks: Floats) -> Floats:
        """(N, 192) blocks in (row, column, colour) order -> (N, C) latents of unit variance."""
        return (blocks - self.mean) @ self.basis / self.std


def fit_blocks(images: npt.NDArray[np.uint8], channels: int, count: int = 300_000, seed: int = 0) -> Blocks:
    """The ``channels`` leading principal components of ``count`` blocks drawn from (N, H, W, 3) pictures."""
    rng = generator(seed, "blocks")
    high = np.array(images.shape[1:3]) // SIDE
    which = rng.integers(len(images), size=count)
    rows, columns = rng.integers(high[0], size=count), rng.integers(high[1], size=count)
    tiles = images[:, : high[0] * SIDE, : high[1] * SIDE].reshape(len(images), high[0], SIDE, high[1], SIDE, 3)
    drawn = tiles[which, rows, :, columns].reshape(count, SIDE * SIDE * 3).astype(np.float64) / 255
    mean = drawn.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((drawn - mean).T))
    order = np.argsort(values)[::-1][:channels]
    basis = vectors[:, order]
    basis = basis * np.where(basis.sum(axis=0) < 0, -1.0, 1.0)  # a direction's sign is arbitrary: settle it
    return Blocks(mean, basis, np.sqrt(values[order]))


@torch.no_grad()
def set_encoder(vae: AutoencoderKL, blocks: Blocks) -> None:
    """Write the transform into the encoder of ``vae`` (four levels; widths of at least 12 and 48 at the finer two)."""
    encoder, channels = vae.encoder, blocks.basis.shape[1]
    for block in (*encoder.down_blocks, encoder.mid_block):
        for resnet in block.resnets:
            _make_identity(resnet)
    for layer in (encoder.conv_in, encoder.conv_out, vae.quant_conv):
        _clear(layer)
    red_green_blue = torch.arange(3)
    encoder.conv_in.weight[red_green_blue, red_green_blue, 1, 1] = 0.5  # [-1, 1] -> [0, 1]
    encoder.conv_in.bias[red_green_blue] = 0.5
    gathers = [block.downsamplers[0].conv for block in encoder.down_blocks[:3]]
    gather(gathers[0], 3)
    gather(gathers[1], 12)
    plus, minus, scale = _carry(gathers[2], blocks, encoder.conv_norm_out.num_groups)
    encoder.conv_norm_out.weight.fill_(1)
    encoder.conv_norm_out.bias.zero_()
    latent = torch.arange(channels)
    encoder.conv_out.weight[latent, plus, 1, 1] = scale
    encoder.conv_out.weight[latent, minus, 1, 1] = -scale
    encoder.conv_out.bias[channels:] = LOG_VARIANCE
    both = torch.arange(2 * channels)
    vae.quant_conv.weight[both, both, 0, 0] = 1.0


def _carry(layer: nn.Conv2d, blocks: Blocks, groups: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Project onto +latents, -latents and constants of +-CARRIER, alike in every group.

    Returns the channels of both signs, and what undoes the normalisation: its standard deviation.
    """
    channels, width = blocks.basis.shape[1], layer.out_channels
    share, size = channels // groups, width // groups
    constants = (size - 2 * share) // 2 * 2
    if channels % groups or constants < 2:
        raise ValueError(f"{width} channels in {groups} groups cannot carry {channels} latents of both signs")
    _clear(layer)
    assert layer.bias is not None  # diffusers' convolutions have one
    pixels = torch.from_numpy(blocks.basis / blocks.std).float().reshape(2, 2, 2, 2, 2, 2, 3, channels)
    inner = pixels.permute(7, 1, 4, 2, 5, 6, 0, 3).reshape(channels, 48, 2, 2)  # row 4, 2, 1, column 4, 2, 1, colour
    offset = torch.from_numpy(-blocks.mean @ blocks.basis / blocks.std).float()
    plus = torch.arange(channels) // share * size + torch.arange(channels) % share
    for sign, where in ((1.0, plus), (-1.0, plus + share)):
        layer.weight[where, :48, :2, :2] = sign * inner
        layer.bias[where] = sign * offset
    for group in range(groups):
        first = group * size + 2 * share
        layer.bias[first : first + constants] = torch.tensor([CARRIER, -CARRIER]).repeat(constants // 2)
    return plus, plus + share, CARRIER * (constants / size) ** 0.5


def gather(layer: nn.Conv2d, channels: int) -> None:
    """Let a 3 x 3 stride-2 convolution put each 2 x 2 neighbourhood side by side: channel (row, column, c)."""
    _clear(layer)
    for row in range(2):
        for column in range(2):
            for channel in range(channels):
                layer.weight[(row * 2 + column) * channels + channel, channel, row, column] = 1.0


def _make_identity(resnet: Any) -> None:
    """Let a residual block pass its input on; the shortcut, where there is one, keeps the first channels."""
    _clear(resnet.conv2)
    if resnet.conv_shortcut is not None:
        _clear(resnet.conv_shortcut)
        same = torch.arange(min(resnet.conv_shortcut.weight.shape[:2]))
        resnet.conv_shortcut.weight[same, same, 0, 0] = 1.0


def _clear(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()
