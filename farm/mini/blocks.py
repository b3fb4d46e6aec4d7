"""A fixed linear encoder: the principal components of 8 x 8 pixel blocks (Karhunen-Loeve transform), whitened.

No linear map of a block to so few numbers loses less, and it needs seconds, not hours: the encoder of an
``AutoencoderTiny`` without residual blocks is a stack of stride-2 convolutions, which can hold the transform exactly.
Only the decoder is learned. The latents are known before it is, so the noise predictor can learn beside it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny

from farm.ids import generator

SIDE = 8
LATENT_STD = 0.4  # of the encoder's output; the decoder bends what is beyond 3, which rare edges reach at unit variance
WIDTH = 48  # channels that hold a 4 x 4 x 3 block exactly

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """Mean (192,) of blocks in [0, 1], leading directions (192, C) and their standard deviations (C,)."""

    mean: Floats
    basis: Floats
    std: Floats

    def project(self, blocks: Floats) -> Floats:
        """(N, 192) blocks in (row, column, colour) order → (N, C) latents of standard deviation ``LATENT_STD``."""
        return (blocks - self.mean) @ self.basis / self.std * LATENT_STD


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
def set_encoder(vae: AutoencoderTiny, blocks: Blocks) -> None:
    """Write the transform into the encoder of ``vae``: three levels of 2 x 2 gathering, then the projection."""
    first, *gathers, last = [layer for layer in vae.encoder.layers if isinstance(layer, torch.nn.Conv2d)]
    for parameter in vae.encoder.parameters():
        parameter.zero_()
    first.weight[torch.arange(3), torch.arange(3), 1, 1] = 1.0
    channels = blocks.basis.shape[1]
    gather(gathers[0], 3)
    gather(gathers[1], 12)
    weight = torch.from_numpy(blocks.basis / blocks.std * LATENT_STD).float()  # (192, C)
    pixels = weight.reshape(2, 2, 2, 2, 2, 2, 3, channels)  # row 4, 2, 1, column 4, 2, 1, colour
    inner = pixels.permute(1, 4, 2, 5, 6, 0, 3, 7).reshape(48, 2, 2, channels)
    gathers[2].weight[:channels, :48, 1:, 1:] = inner.permute(3, 0, 1, 2)
    last.weight[torch.arange(channels), torch.arange(channels), 1, 1] = 1.0
    assert last.bias is not None  # the last convolution of the encoder always has one
    last.bias.copy_(torch.from_numpy(-blocks.mean @ blocks.basis / blocks.std * LATENT_STD).float())


def gather(layer: torch.nn.Conv2d, channels: int) -> None:
    """Let a 3 x 3 stride-2 convolution put each 2 x 2 neighbourhood side by side: channel (row, column, c)."""
    for row in range(2):
        for column in range(2):
            for channel in range(channels):
                layer.weight[(row * 2 + column) * channels + channel, channel, 1 + row, 1 + column] = 1.0


def build_blocks_vae(channels: int, decoder_blocks: tuple[int, ...], width: int = WIDTH) -> AutoencoderTiny:
    """An untrained ``AutoencoderTiny`` (f = 8) whose encoder can hold the transform."""
    return AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        decoder_block_out_channels=(width,) * 4,
        num_decoder_blocks=decoder_blocks,
        latent_channels=channels,
        scaling_factor=1.0 / LATENT_STD,
    )
