"""Text-guided variational generation of NORMAL images: Lee and Choi, CVPR 2024, arXiv 2403.06247, as card 002 reads it.

From n normal photographs of a category (``config.sources``: 1, 5 or all) come more of them, for detectors that learn
from normals alone. The prompt "a {product} with {word}" that is nearest to the normals is chosen; the normals' latents
are taken as a Gaussian for each place and channel; ``config.candidates`` draws of it are led together by text, by the
normals' mean image vector, by the row's source and by the variance that the normals have (``variational.optimise``).
The row's image is the best that a second tower saw (``variational.judge``) among those that no gate refuses.

The autoencoder is the run's own; a VQ codebook, if it has one, is passed straight through. Nothing is trained.

Ours, for autoencoders that are no VQGAN of ImageNet and walks that are short: latents that start about the row's own
source (``centre``), noise with the correlations of the normals (``noise``, see ``gaussian.joint``), and the grain that
the autoencoder loses of the source added again (``detail``). The defaults are the card's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from farm.config import Run, VariationalConfig
from farm.datasets import load_photos, read_photo
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.latents import row_noise, to_unit
from farm.embedders import Embedder, load_embedder
from farm.embedders.openclip import OpenClip
from farm.errors import DataError
from farm.ids import generator
from farm.methods.base import Made, Pixels, Request
from farm.plan import arm_sources
from farm.variational import gaussian
from farm.variational.gates import Gates
from farm.variational.gaussian import Diagonal
from farm.variational.guide import Guide
from farm.variational.judge import Judge, target
from farm.variational.light import lightly
from farm.variational.optimise import Led, Objective, lead
from farm.variational.perceptual import Looks
from farm.variational.prompts import choose, keyword_of
from farm.variational.words import library

LIGHT_CHANGES = 16  # of a single normal: how many stand beside it


@dataclass(frozen=True)
class Normal:
    """One row's result."""

    image: Pixels
    evaluations: int
    objection: str = ""
    error: str = ""


class Variational:
    """The method. What is not given is loaded: weights, and the normals from the run's photographs."""

    needs_trajectory = False

    def __init__(
        self,
        config: VariationalConfig,
        run: Run,
        backbone: Backbone | None = None,
        normals: Pixels | None = None,
        judge: Embedder | None = None,
    ) -> None:
        """``normals`` (n, H, W, 3) at ``run.size_px``; ``judge`` is the tower that scores.

        Raises ``ConfigError`` for a keyword of damage, ``DataError`` without a normal, ``WeightsError``.
        """
        self.config = config
        self.backbone = load_backbone(run.model, run.compute) if backbone is None else backbone
        self.normals = read_normals(config, run) if normals is None else normals
        self.guide = Guide(OpenClip(config.guide, run.compute))
        tower = load_embedder(config.judge, run.compute) if judge is None else judge
        device, keyword = self.backbone.device, keyword_of(run.data.category, config.keyword)
        vectors = self.guide.embed(self.normals)
        self.choice = choose(keyword, library(keyword), vectors, self.guide.read)
        changed = self._changed(run.seed)
        self._looks = Looks().to(device)
        latents = self._encode(self.normals, run.compute.batch_size)
        self._samples = (
            latents if len(latents) > 1 else gaussian.of_one(latents[0], self._encode(changed, run.compute.batch_size))
        )
        self.distribution = gaussian.fit(self._samples).about(latents.mean(0), 1)
        self._text = torch.from_numpy(self.choice.vector).to(device)
        self._image = torch.from_numpy(_unit(vectors.mean(axis=0))).to(device)
        self._judge = Judge(
            tower, target(tower, self.choice.prompt, self.normals), gaussian.pooled(latents), config.distance_weight
        )
        self._quantise = gaussian.quantiser(self.backbone.vae)
        self._gates = Gates(self.normals, changed, config, self._looks, device)

    def __call__(self, request: Request) -> Made:
        """B normal images; labels are all 0, masks and prompts of the request mean nothing. A row at a time."""
        rows = [self._make(source, int(seed)) for source, seed in zip(request.source, request.seed, strict=True)]
        return Made(
            image=np.stack([row.image for row in rows]),
            label=np.zeros(request.source.shape[:3], np.uint8),
            evaluations=np.array([row.evaluations for row in rows], dtype=np.int32),
            background_error=np.zeros(len(rows), np.float32),
            objection=tuple(row.objection for row in rows),
            error=tuple(row.error for row in rows),
        )

    @torch.no_grad()
    def around(self, source: Pixels) -> Diagonal:
        """What the first latents of a row with this source are drawn from."""
        own = self.config.centre == "source"
        centre = self.backbone.encode(source[None])[0] if own else self.distribution.mean
        return self.distribution.about(centre, self.config.sigma)

    def noise(self, seed: int) -> Tensor:
        """eps (candidates, C, h, w) of the row with this seed."""
        if self.config.noise == "joint":
            weights = row_noise([seed], "variational", (self.config.candidates, len(self._samples)))[0]
            return gaussian.joint(weights, self._samples)
        return row_noise([seed], "variational", (self.config.candidates, *self.distribution.mean.shape))[0]

    def lead(self, source: Pixels, seed: int) -> Led:
        """The walk of one row: its candidates with the best image and score of each, before any gate."""
        normals = self.around(source)
        with torch.no_grad():
            looks = self._looks(to_unit(source[None]).to(self.backbone.device))
        objective = Objective(self.guide, self._looks, self._text, self._image, normals, looks, self.config)
        first, cuts = normals.sample(self.noise(seed)), generator(seed, "variational/cutouts")
        return lead(first, self._decoder(source), objective, self._judge, cuts)

    def objection(self, image: Pixels) -> str:
        """Why a gate would refuse the image (H, W, 3), or ""."""
        return self._gates.objection(image)

    def _make(self, source: Pixels, seed: int) -> Normal:
        led = self.lead(source, seed)
        if not led.finite:
            return Normal(source, led.evaluations, error="latents or pixels are not finite; lower lr or sigma")
        ranked = led.images[np.argsort(-led.scores, kind="stable")]
        first = ""
        for image in ranked:
            objection = self.objection(image)
            if not objection:
                return Normal(image, led.evaluations)
            first = first or objection
        return Normal(ranked[0], led.evaluations, first)

    @torch.no_grad()
    def _decoder(self, source: Pixels) -> Callable[[Tensor], Tensor]:
        """G(Q(z)); with ``detail`` and what it loses of the source, so that the source's latent gives the source."""
        backbone = self.backbone
        if not self.config.detail:
            return lambda z: backbone.decode(self._quantise(z))
        lost = to_unit(source[None]).to(backbone.device) - backbone.decode(backbone.encode(source[None]))
        return lambda z: backbone.decode(self._quantise(z)) + lost

    def _changed(self, seed: int) -> Pixels:
        """Light changes of the only normal; none where there are more."""
        if len(self.normals) > 1:
            return self.normals[:0]
        change = partial(lightly, count=LIGHT_CHANGES, flips=self.config.flips)
        return change(self.normals[0], rng=generator(seed, "variational/light"))

    @torch.no_grad()
    def _encode(self, images: Pixels, size: int) -> Tensor:
        """Latents of images, in batches padded to ``size``."""
        found = []
        for start in range(0, len(images), size):
            rows = np.minimum(np.arange(start, start + size), len(images) - 1)
            found.append(self.backbone.encode(images[rows])[: len(images) - start])
        return torch.cat(found)


def read_normals(config: VariationalConfig, run: Run) -> Pixels:
    """(n, H, W, 3): the normals that the arm may see, ``config.sources`` of them. ``DataError`` where there is none."""
    photos = arm_sources(load_photos(run.data).train, config.sources)
    if not photos:
        raise DataError(f"{run.data.category}: no normal photographs to learn from; check data.root")
    return np.stack([read_photo(photo, run.size_px, run.data.max_megapixels) for photo in photos])


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return vector / np.linalg.norm(vector)
