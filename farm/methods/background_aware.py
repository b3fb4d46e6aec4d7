"""Background-aware defect generation: Cho et al., arXiv 2411.16767, in the algorithm of card 001 section 5.

DDIM-invert a photograph, put noise in the mask only, denoise it there under the defect's text: the background comes
back, the defect is new and fits its surroundings. Two modes, see ``farm.diffusion.regional``. The defect pass is
guided (Ho and Salimans 2022, arXiv 2207.12598; empty text as the unconditional one) and reads the defect's text
inside the mask and the normal text outside; the background is never guided, since that would break its inversion.

An adapter (``farm.fitting.background_aware``) goes onto a private copy of the base model; the text of a fitted defect
then ends in its learned token. Inversion stays with the base model and its stored trajectories are shared by all
adapters: ``replay`` takes every background latent from the trajectory, so it is exact for whatever network denoises
the defect. In ``two_pass`` the adapted network does both, inversion and sampling.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from farm.config import BackgroundAwareConfig, Run
from farm.diffusion import regional
from farm.diffusion.attention import mask_pyramid
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.latents import blend, finite_rows, latent_mask, row_noise, to_pixels
from farm.diffusion.schedule import Level
from farm.diffusion.text import Text
from farm.fitting.adapters import adapter_url, is_fitted, read_adapter
from farm.methods import refine
from farm.methods.background_adapter import adapted, told_prompts
from farm.methods.base import Made, Pixels, Request

NO_DEFECT = "no_visible_defect"


class Passes:
    """The two predictions of a batch under its texts and masks; counts the network evaluations of each row."""

    def __init__(self, backbone: Backbone, request: Request, m: Tensor, guidance: float) -> None:
        self._backbone, self._guidance, self.evaluations = backbone, guidance, 0
        self._normal = backbone.embed_prompts(request.normal_prompt)
        empty = backbone.embed_prompts([""] * len(m))
        texts = [backbone.embed_prompts(request.prompt).beside(self._normal)]
        if guidance != 1:
            texts.insert(0, empty.beside(empty))
        self._copies, self._texts = len(texts), Text.cat(texts)
        self._regions = mask_pyramid(torch.cat([m] * self._copies))

    def background(self, z: Tensor, level: Level) -> Tensor:
        """Noise under the normal text, unguided."""
        self.evaluations += 1
        return self._backbone.predict(z, level.time, self._normal)

    def defect(self, z: Tensor, level: Level) -> Tensor:
        """Noise under the defect's text inside the mask, guided: e(empty) + g (e(text) - e(empty))."""
        self.evaluations += self._copies
        eps = self._backbone.predict(torch.cat([z] * self._copies), level.time, self._texts, self._regions)
        if self._copies == 1:
            return eps
        empty, text = eps.chunk(2)
        return empty + self._guidance * (text - empty)


@dataclass(frozen=True)
class Latents:
    """What sampling gives: ``made`` and the ``reconstruction`` without a defect, (B, C, h, w) each."""

    made: Tensor
    reconstruction: Tensor
    evaluations: int  # of each row


class BackgroundAware:
    """The method; ``backbone`` is loaded from the run's model unless one is given."""

    def __init__(
        self,
        config: BackgroundAwareConfig,
        run: Run,
        backbone: Backbone | None = None,
        adapter: Mapping[str, Tensor] | None = None,
    ) -> None:
        """``adapter`` is read from where ``config`` says unless it is given; an empty one changes nothing.

        Raises ``WeightsError`` where the adapter is absent, damaged or was fitted on another base model.
        """
        self.config = config
        self.backbone = load_backbone(run.model, run.compute) if backbone is None else backbone
        if adapter is None and is_fitted(config):
            settings = config.fit.model_dump(mode="json") if config.fit and config.adapter is None else None
            adapter, _ = read_adapter(adapter_url(run, config), config.kind, self.backbone.fingerprint, settings)
        if adapter:
            self.backbone = adapted(self.backbone, adapter)
            self.backbone.merge_lora()
        self._told = told_prompts(run, self.backbone)
        levels = self.backbone.schedule.levels(config.steps)
        self.levels = levels[: 1 + max(1, round(config.t_start * config.steps))]

    @property
    def needs_trajectory(self) -> bool:
        """Replay reads the stored inversion; two_pass inverts around each mask itself."""
        return self.config.mode == "replay"

    def __call__(self, request: Request) -> Made:
        """Make all B rows. Outside the dilated mask the bytes are the source's where ``composite`` is set."""
        latents = self.latents(request)
        images = self.backbone.decode(latents.made)
        reconstructions = self.backbone.decode(latents.reconstruction)
        finite = finite_rows(latents.made, latents.reconstruction, images, reconstructions)
        rows = [
            self._finish(image, reconstruction, source, mask, good)
            for image, reconstruction, source, mask, good in zip(
                to_pixels(images),
                to_pixels(reconstructions),
                request.source,
                request.mask,
                finite.tolist(),
                strict=True,
            )
        ]
        image, label, error, objection, message = zip(*rows, strict=True)
        return Made(
            image=np.stack(image),
            label=np.stack(label),
            evaluations=np.full(len(rows), latents.evaluations, dtype=np.int32),
            background_error=np.asarray(error, dtype=np.float32),
            objection=objection,
            error=message,
        )

    def latents(self, request: Request) -> Latents:
        """Sample in latent space, in the configured mode."""
        m = latent_mask(request.mask, self.backbone.factor).to(self.backbone.device)
        request = replace(request, prompt=tuple(self._told.get(prompt, prompt) for prompt in request.prompt))
        passes = Passes(self.backbone, request, m, self.config.guidance)
        if self.config.mode == "replay":
            trajectory = self._trajectory(request.trajectory)
            start = self._start(trajectory[:, 0], request.seed)
            made = regional.replay(passes.defect, trajectory, start, m, self.levels)
            return Latents(made, trajectory[:, 0], passes.evaluations)
        z0 = self.backbone.encode(request.source)
        filler = self._noise(request.seed, "hole", z0) if self.config.hole_fill == "noise" else torch.zeros_like(z0)
        made = regional.two_pass(
            passes.background,
            passes.defect,
            z0,
            self._start(z0, request.seed),
            m,
            self.levels,
            regional.hole_view(m, filler),
            self.config.fixed_point,
        )
        return Latents(made, blend(made, z0, m), passes.evaluations)

    def _trajectory(self, stored: npt.NDArray[np.float16] | None) -> Tensor:
        if stored is None or stored.shape[1] != self.config.steps + 1:
            found = "none" if stored is None else f"{stored.shape[1]} levels"
            raise ValueError(f"replay needs a trajectory of {self.config.steps + 1} levels; found {found}")
        return torch.from_numpy(stored[:, : len(self.levels)]).float().to(self.backbone.device)

    def _start(self, z0: Tensor, seeds: npt.NDArray[np.int64]) -> Tensor:
        whole_way = len(self.levels) == self.config.steps + 1
        return regional.first_latent(z0, self._noise(seeds, "defect", z0), self.levels[-1], whole_way)

    def _noise(self, seeds: npt.NDArray[np.int64], purpose: str, like: Tensor) -> Tensor:
        return row_noise(seeds.tolist(), f"background_aware/{purpose}", like.shape[1:]).to(like)

    def _finish(
        self, image: Pixels, reconstruction: Pixels, source: Pixels, mask: Pixels, finite: bool
    ) -> tuple[Pixels, Pixels, float, str, str]:
        """Image, label, background error, objection and error of one row."""
        nothing = np.zeros_like(mask)
        if not mask.any():
            return source, nothing, 0.0, "", "the target mask is empty; a defect needs at least one pixel"
        if not finite:
            return source, nothing, 0.0, "", "latents or pixels are not finite; try compute.dtype float32"
        radius = self.config.dilate_px
        label = refine.refine(image, reconstruction, mask, radius)
        seen = int(label.sum()) >= max(1, self.config.min_visible * int(mask.sum()))
        error = refine.background_error(image, source, refine.dilate(mask, radius))
        kept = refine.composite(image, source, mask, radius) if self.config.composite else image
        return kept, label, error, "" if seen else NO_DEFECT, ""
