"""The normals' latents as a diagonal Gaussian for each place and channel (card 002 section 4.2).

    z = mu + sigma eps,    x = G(Q(z))
    KL(g || r) = 1/2 sum [log(s_r^2 / s_g^2) + (s_g^2 + (m_g - m_r)^2) / s_r^2 - 1]
    W2(g, r)^2 = sum [(m_g - m_r)^2 + (s_g - s_r)^2]

m, s^2: means and variances; variances have a floor of 1e-4, so that every logarithm and gradient is finite.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 1e-4  # of a variance; a latent's own is about 1


@dataclass(frozen=True)
class Diagonal:
    """A Gaussian without correlations; two tensors of one shape, (C, h, w) for latents."""

    mean: Tensor
    variance: Tensor

    def sample(self, eps_BCHW: Tensor) -> Tensor:
        """mu + sigma eps, one draw for each row of ``eps`` (B, C, h, w): standard normal, or ``joint``."""
        return self.mean + self.variance.sqrt() * eps_BCHW.to(self.mean)

    def about(self, mean: Tensor, spread: float) -> "Diagonal":
        """The same about another mean with ``spread`` times the deviation; without a spread, a point."""
        return Diagonal(mean, self.variance * spread**2)


def fit(z_NCHW: Tensor) -> Diagonal:
    """Mean and unbiased variance of N >= 2 latents, place by place and channel by channel; it has a gradient."""
    return Diagonal(z_NCHW.mean(0), z_NCHW.var(0).clamp(min=FLOOR))


def of_one(z_CHW: Tensor, changed_ACHW: Tensor) -> Tensor:
    """What stands for the normals where there is one: (9 (A + 1), C, h, w), it and its light changes ``changed``,
    each moved by at most a place across and down (the border repeated). Their ``fit`` is the variance of one.
    """
    every = F.pad(torch.cat([z_CHW[None], changed_ACHW]), (1, 1, 1, 1), mode="replicate")
    height, width = z_CHW.shape[-2:]
    moved = [every[..., top : top + height, left : left + width] for top in range(3) for left in range(3)]
    return torch.cat(moved)


def joint(weights_BN: Tensor, z_NCHW: Tensor) -> Tensor:
    """eps (B, C, h, w) of unit variance in each place that varies over places as the normals' own latents do.

        eps = sum_i w_i (z_i - m) / (s sqrt(N - 1)),    w ~ N(0, I)

    m, s^2: mean and unbiased variance of the N latents. Independent noise forgets that neighbours go together.
    """
    normals = fit(z_NCHW)
    apart = (z_NCHW - normals.mean) / (normals.variance.sqrt() * (len(z_NCHW) - 1) ** 0.5)
    return torch.einsum("bn,nchw->bchw", weights_BN.to(apart), apart)


def channels(z_BCHW: Tensor) -> Diagonal:
    """One Gaussian for each image, over its places: mean and variance (B, C)."""
    flat = z_BCHW.flatten(2)
    return Diagonal(flat.mean(2), flat.var(2).clamp(min=FLOOR))


def pooled(z_NCHW: Tensor) -> Diagonal:
    """One Gaussian over the places of all images: mean and variance (C,)."""
    flat = z_NCHW.transpose(0, 1).flatten(1)
    return Diagonal(flat.mean(1), flat.var(1).clamp(min=FLOOR))


def kl(g: Diagonal, r: Diagonal) -> Tensor:
    """KL(g || r), summed over all places and channels; a scalar with a gradient."""
    g_variance, r_variance = g.variance.clamp(min=FLOOR), r.variance.clamp(min=FLOOR)
    ratio = (g_variance + (g.mean - r.mean).square()) / r_variance
    return 0.5 * ((r_variance / g_variance).log() + ratio - 1).sum()


def w2(g: Diagonal, r: Diagonal) -> Tensor:
    """W2(g, r) over the last axis, divided by its root length so that it does not grow with the number of channels."""
    square = (g.mean - r.mean).square() + (g.variance.sqrt() - r.variance.sqrt()).square()
    return square.mean(-1).sqrt()


def straight_through(z: Tensor, quantised: Tensor) -> Tensor:
    """``quantised`` in value; to gradients it is ``z`` (Bengio et al. 2013, arXiv 1308.3432)."""
    return z + (quantised - z).detach()


def quantiser(vae: Any) -> Callable[[Tensor], Tensor]:
    """Q: scaled latents to the nearest entries of a VQ autoencoder's codebook, straight through for gradients.

    The identity for an autoencoder without a codebook (``vae.quantize``, as diffusers' ``VQModel`` has it).
    """
    if not hasattr(vae, "quantize"):
        return lambda z: z
    scale = float(vae.config.scaling_factor)
    return lambda z: straight_through(z, vae.quantize(z / scale)[0] * scale)
