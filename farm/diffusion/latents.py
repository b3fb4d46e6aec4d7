"""Between pixels and latents: encode, decode, masks at latent resolution, blending, and noise by row.

z = (mean - shift) * scale of the autoencoder's posterior mean, with both numbers read from its config. Latents are
float32 (B, C, h, w); a latent mask is bool (B, 1, h, w), true where the defect is.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from farm.ids import generator

Pixels = npt.NDArray[np.uint8]


def to_unit(pixels: Pixels) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(unit: Tensor) -> Pixels:
    """Float (B, 3, H, W), cut to [-1, 1] -> uint8 (B, H, W, 3), rounded.

    NaN becomes mid-grey, which no one can tell from a picture: ask ``finite_rows`` first, and fail the row.
    """
    scaled = (torch.nan_to_num(unit.float()).clamp(-1, 1) + 1) * 127.5
    pixels: Pixels = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels


def finite_rows(*tensors: Tensor) -> Tensor:
    """(B,) bool: whether every value of the row is finite in each of ``tensors``, (B, ...) of any shapes."""
    return torch.stack([torch.isfinite(x).flatten(1).all(1) for x in tensors]).all(0)


def encode(vae: Any, unit: Tensor) -> Tensor:
    """Images in [-1, 1] -> scaled posterior mean (AutoencoderKL) or latent (AutoencoderTiny)."""
    coded = vae.encode(unit)
    mean = coded.latent_dist.mean if hasattr(coded, "latent_dist") else coded.latents
    return (mean - _shift(vae)) * float(vae.config.scaling_factor)


def decode(vae: Any, z: Tensor) -> Tensor:
    """Scaled latents -> images (B, 3, H, W), about [-1, 1] and not cut."""
    image: Tensor = vae.decode(z / float(vae.config.scaling_factor) + _shift(vae)).sample
    return image


def latent_mask(mask: Pixels, factor: int) -> Tensor:
    """(B, H, W) in {0, 1} -> bool (B, 1, h, w): true where any of the cell's pixels is set, so nothing vanishes."""
    return F.max_pool2d(torch.from_numpy(np.ascontiguousarray(mask))[:, None].float(), factor) > 0


def blend(outside: Tensor, inside: Tensor, m: Tensor) -> Tensor:
    """``inside`` where ``m`` is true, ``outside`` elsewhere; bits are copied, nothing is multiplied."""
    return torch.where(m, inside, outside)


def fill_hole(z: Tensor, m: Tensor, filler: Tensor, abar: float) -> Tensor:
    """z^m of card 001 section 4: inside ``m`` the content goes and sqrt(1 - abar) times ``filler`` takes its place."""
    return blend(z, (1 - abar) ** 0.5 * filler, m)


def row_noise(seeds: Iterable[int], purpose: str, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 (B, *shape): row i comes from (seed i, purpose) alone, drawn on the host."""
    rows = [generator(int(seed), purpose).standard_normal(tuple(shape), dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def _shift(vae: Any) -> float:
    return float(getattr(vae.config, "shift_factor", None) or 0.0)
