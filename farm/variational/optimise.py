"""Latents led by text (card 002 section 4.3): Adam on B candidates at once, the best image seen of each is kept.

    L = l_t [1 - cos(CLIP_I(A(x)), CLIP_T(P*))] + l_x [1 - cos(CLIP_I(x), mean CLIP_I(normals))]
        + l_p LPIPS(x, source) + l_v KL(N(m_g, s_g^2) || N(m_r, s_r^2)) / (C h w)

x = G(Q(z)). The first three are means over candidates (and cut-outs A); g are the statistics of the B candidates, r
what the first latents were drawn from. The card's KL is a sum over C h w numbers; here it is their mean, so that l_v
means the same at any size of image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from farm.config import VariationalConfig
from farm.diffusion.latents import to_pixels
from farm.variational import gaussian
from farm.variational.gaussian import Diagonal
from farm.variational.guide import Boxes, cut_out, draw_boxes, resized
from farm.variational.perceptual import distance

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float64]


class Tower(Protocol):
    """An image tower with gradients, ``guide.Guide``."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images that it looks at."""

    def __call__(self, unit_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1] -> (B, D) unit vectors."""


@dataclass(frozen=True)
class Terms:
    """The four parts of L before weighting, scalars; 0 where a part has no weight and was not computed."""

    text: Tensor
    image: Tensor
    perceptual: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Objective:
    """L for one row."""

    guide: Tower
    looks: Callable[[Tensor], Tensor]  # ``perceptual.Looks``
    text: Tensor  # (D,) CLIP_T(P*), unit
    image: Tensor  # (D,) mean CLIP_I of the normals, unit
    normals: Diagonal  # (C, h, w), what the first latents were drawn from
    source: Tensor  # (1, F), ``looks`` of the row's source
    config: VariationalConfig

    def terms(self, z_BCHW: Tensor, unit_BCHW: Tensor, boxes: Boxes) -> Terms:
        """The parts for B candidates ``z`` with images ``unit`` and B * K cut-outs."""
        config, nought = self.config, z_BCHW.new_zeros(())
        text = image = perceptual = variance = nought
        if config.text_weight or config.image_weight:
            whole = resized(unit_BCHW, self.guide.size)
            cuts = cut_out(unit_BCHW, boxes, self.guide.size)
            seen = self.guide(torch.cat([whole, cuts]))
            text = 1 - (seen[len(whole) :] @ self.text).mean()
            image = 1 - (seen[: len(whole)] @ self.image).mean()
        if config.perceptual_weight:
            perceptual = distance(self.looks(unit_BCHW), self.source).mean()
        if config.variance_weight:
            variance = gaussian.kl(gaussian.fit(z_BCHW), self.normals) / z_BCHW[0].numel()
        return Terms(text, image, perceptual, variance)

    def loss(self, terms: Terms) -> Tensor:
        """L."""
        config = self.config
        return (
            config.text_weight * terms.text
            + config.image_weight * terms.image
            + config.perceptual_weight * terms.perceptual
            + config.variance_weight * terms.variance
        )


@dataclass(frozen=True)
class Led:
    """B candidates after the walk. ``finite`` is false where a number ran away; then the rest means nothing."""

    images: Pixels  # (B, H, W, 3): of each candidate the image with the best score seen
    scores: Scores  # (B,)
    z: Tensor  # (B, C, h, w) at the end
    terms: tuple[Terms, ...]  # one an iteration, detached
    evaluations: int  # decoder passes, each of one image
    finite: bool


class _Best:
    """Of each candidate the best image so far."""

    def __init__(self, judge: Callable[[Pixels, Tensor], Scores]) -> None:
        self._judge = judge
        self.images: Pixels | None = None
        self.scores: Scores = np.zeros(0)

    def look(self, unit_BCHW: Tensor, z_BCHW: Tensor) -> None:
        images = to_pixels(unit_BCHW.detach())
        scores = self._judge(images, z_BCHW.detach())
        if self.images is None:
            self.images, self.scores = images, scores
            return
        better = scores > self.scores
        self.images[better] = images[better]
        self.scores = np.where(better, scores, self.scores)


def lead(
    z_BCHW: Tensor,
    decode: Callable[[Tensor], Tensor],
    objective: Objective,
    judge: Callable[[Pixels, Tensor], Scores],
    rng: np.random.Generator,
) -> Led:
    """Walk ``iterations`` steps of Adam from ``z``; every ``score_every`` steps and at both ends all are scored.

    ``decode`` is G(Q(z)) with gradients; ``rng`` draws the cut-outs and nothing else.
    """
    config, best, passed = objective.config, _Best(judge), []
    z = z_BCHW.detach().clone().requires_grad_(True)
    adam = torch.optim.Adam([z], lr=config.lr)
    finite, evaluations = True, 0
    with torch.enable_grad():
        for iteration in range(config.iterations + 1):
            last = iteration == config.iterations
            with torch.set_grad_enabled(not last):
                unit = decode(z)
            evaluations += len(z)
            finite = bool(torch.isfinite(unit).all())
            if not finite:
                break
            if last or iteration % config.score_every == 0:
                best.look(unit, z)
            if last:
                break
            terms = objective.terms(z, unit, draw_boxes(rng, len(z) * config.cutouts))
            adam.zero_grad()
            objective.loss(terms).backward()
            adam.step()
            passed.append(Terms(*(part.detach() for part in vars(terms).values())))
    images = np.zeros((0, 0, 0, 3), np.uint8) if best.images is None else best.images
    return Led(
        images, best.scores, z.detach(), tuple(passed), evaluations, finite and bool(np.isfinite(best.scores).all())
    )
