"""DualAnoDiff: the image and its anomaly part are born together (Jin et al., CVPR 2025, arXiv 2408.13509; card 003).

Two latents of independent noise, with the little in it that training leaves of an image, are denoised in lockstep by
the two branches of ``farm.diffusion.dual``: the whole image under the whole prompt, the part on grey under the nested
one. The mask is what the part's picture shows, so no target mask is read and the place is the model's own. Guidance
compares both with the empty text.

The whole image is made anew, background included. With ``composite`` only the masked pixels are taken over, onto the
source; without it there is no source to compare with, and ``Made.reference`` is the image with its defect filled in
from around, so that "how much changed" still means the defect.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from torch import Tensor

from farm.config import DualConfig, DualFit, Run
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.ddim import add_noise, sample
from farm.diffusion.dual import DualNetwork, interleave, ranks, separate
from farm.diffusion.latents import encode, row_noise, to_pixels, to_unit
from farm.diffusion.schedule import Level
from farm.diffusion.text import Text
from farm.fitting.adapters import adapter_url, is_fitted, read_adapter
from farm.foreground import foreground
from farm.methods import dual_mask, refine
from farm.methods.base import Made, Pixels, Request

FILL_PX = 3


class Dual:
    """The method; ``backbone`` is loaded from the run's model unless one is given, ``adapter`` read unless given."""

    needs_trajectory = False

    def __init__(
        self,
        config: DualConfig,
        run: Run,
        backbone: Backbone | None = None,
        adapter: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Raises ``WeightsError`` where the adapter is absent, damaged or was fitted on another base model."""
        self.config = config
        base = load_backbone(run.model, run.compute) if backbone is None else backbone
        if adapter is None and is_fitted(config):
            settings = config.fit.model_dump(mode="json") if config.fit and config.adapter is None else None
            adapter, _ = read_adapter(adapter_url(run, config), config.kind, base.fingerprint, settings)
        private = base.private()
        self.network = DualNetwork(private, ranks(adapter) if adapter else DualFit(), run.seed)
        if adapter:
            self.network.load(adapter)
        self.network.to(base.device, base.dtype)
        self.network.layers.requires_grad_(False)
        self.levels = private.schedule.levels(config.steps)

    @classmethod
    def of(cls, config: DualConfig, network: DualNetwork) -> "Dual":
        """The method on a network that is there already, as it is."""
        made = cls.__new__(cls)
        made.config, made.network = config, network
        network.backbone.prompts.forget()  # the texts' adapters may have learned since
        made.levels = network.backbone.schedule.levels(config.steps)
        return made

    def __call__(self, request: Request) -> Made:
        """Make all B rows. With ``composite`` bytes outside the dilated label are the source's."""
        whole, part, evaluations = self.pictures(request)
        images = to_pixels(whole)
        rows = [self._finish(image, *row) for image, *row in zip(images, whole, part, request.source, strict=True)]
        image, label, error, objection, message, reference = zip(*rows, strict=True)
        return Made(
            image=np.stack(image),
            label=np.stack(label),
            evaluations=np.full(len(rows), evaluations, dtype=np.int32),
            background_error=np.asarray(error, dtype=np.float32),
            objection=objection,
            error=message,
            reference=None if self.config.composite else np.stack(reference),
        )

    @torch.no_grad()
    def pictures(self, request: Request) -> tuple[Tensor, Tensor, int]:
        """Whole images and parts, (B, 3, H, W) each and about [-1, 1], and the network evaluations of each row."""
        seeds, backbone = request.seed.tolist(), self.network.backbone
        grey = encode(backbone.vae, torch.zeros_like(to_unit(request.source)).to(backbone.device))
        shape = grey.shape[1:]
        noise = interleave(row_noise(seeds, "dual/whole", shape), row_noise(seeds, "dual/part", shape)).to(grey)
        start = noise if self.config.start == "noise" else self._marginal(request.source, grey, noise)
        backgrounds = torch.cat([grey, self._background(request.source)]) if self.config.background else None
        passes = _Passes(self.network, self.config, seeds, backgrounds)
        whole, part = separate(sample(passes, start, self.levels))
        return backbone.decode(whole), backbone.decode(part), passes.evaluations

    def _marginal(self, sources: Pixels, grey: Tensor, noise: Tensor) -> Tensor:
        """``noise`` with what training leaves of an image at the noisiest level: of the source, and of the grey ground.

        A schedule that ends above zero signal shows the network a little of the image even there (Everaert et al.,
        WACV 2024, arXiv 2309.15842), and a briefly fitted one takes the noise's own mean for it: grounds and metals
        then come out in any colour. So each channel's mean is that of the image alone.
        """
        shown = self.network.backbone.encode(sources)
        level = noise - noise.mean(dim=(-2, -1), keepdim=True)
        return add_noise(interleave(shown, grey), level, self.levels[-1].abar)

    def _background(self, sources: Pixels) -> Tensor:
        """Latents (B, C, h, w) of the sources with their objects black."""
        bare = np.stack([source * (1 - foreground(source)[..., None].astype(np.uint8)) for source in sources])
        return self.network.backbone.encode(bare)

    def _finish(
        self, image: Pixels, whole: Tensor, part: Tensor, source: Pixels
    ) -> tuple[Pixels, Pixels, float, str, str, Pixels]:
        """Image, label, background error, objection, error and reference of one row."""
        if not (torch.isfinite(whole).all() and torch.isfinite(part).all()):
            nothing = np.zeros(source.shape[:2], np.uint8)
            return source, nothing, 0.0, "", "pixels are not finite; try compute.dtype float32", source
        settings, first = self.config, whole.permute(1, 2, 0).float().cpu().numpy()
        second = part.permute(1, 2, 0).float().cpu().numpy()
        label = dual_mask.part_mask(second, settings.part_floor)
        if not settings.texture:
            label = label & foreground(image).astype(np.uint8)
        areas = (settings.min_area, settings.max_area)
        refused = dual_mask.objection(first, second, label, areas, settings.max_disagreement)
        error = refine.background_error(image, source, refine.dilate(label, settings.dilate_px))
        if settings.composite:
            image = refine.composite(image, source, label, settings.dilate_px)
        return image, label, error, refused, "", fill(image, label, settings.dilate_px)


class _Passes:
    """The guided prediction of pairs; counts the network evaluations of each row."""

    def __init__(self, network: DualNetwork, config: DualConfig, seeds: list[int], backgrounds: Tensor | None) -> None:
        self._network, self._guidance, self._seeds = network, config.guidance, seeds
        self._backgrounds, self.evaluations = backgrounds, 0
        text, count = network.backbone.embed_prompts, len(seeds)
        empty = text(["", ""] * count)
        told = text([config.whole_prompt, config.part_prompt] * count)
        self._copies = 1 if config.guidance == 1 else 2
        self._texts = told if self._copies == 1 else Text.cat([empty, told])
        alone = text([config.whole_prompt] * count)
        self._alone = alone if self._copies == 1 else Text.cat([text([""] * count), alone])

    def __call__(self, z: Tensor, level: Level) -> Tensor:
        """e(empty) + g (e(text) - e(empty)) of (2B, C, h, w)."""
        memory = None
        if self._backgrounds is not None:
            noise = row_noise(self._seeds, f"dual/background/{level.time}", self._backgrounds.shape[1:]).to(z)
            latents = self._backgrounds[-len(noise) * self._copies :]
            noised = add_noise(latents, torch.cat([noise] * self._copies), level.abar)
            memory = self._network.remember(noised, level.time, self._alone)
            self.evaluations += self._copies
        self.evaluations += 2 * self._copies
        eps = self._network.predict(torch.cat([z] * self._copies), level.time, self._texts, memory)
        if self._copies == 1:
            return eps
        empty, text = eps.chunk(2)
        return empty + self._guidance * (text - empty)


def fill(image: Pixels, label: Pixels, radius_px: int) -> Pixels:
    """``image`` (H, W, 3) with the dilated label filled in from around it (Telea 2004)."""
    filled: Pixels = np.asarray(cv2.inpaint(image, refine.dilate(label, radius_px), FILL_PX, cv2.INPAINT_TELEA))
    return filled
