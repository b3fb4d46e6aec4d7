"""AdaBLDM: Li et al., arXiv 2402.19330, in the algorithm of card 004 section 5.

From pure noise, under the defect's text and a trimap that a control branch reads (always with the empty text), in
three stages (``adabldm_stages``); then the decoder is adapted to each image (``farm.diffusion.adapt``), so that what
was not to change really looks unchanged. Guidance (Ho and Salimans 2022, arXiv 2207.12598) has the hint in both
halves. Without an adapter there is no branch: an untrained one adds zeros.

``Made.evaluations`` counts those of the U-Net: two a step, one where guidance is 1. The branch sees the same in both
halves and is asked once a step; decoder iterations of the adaptation are not counted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from farm.config import AdaBldmConfig, Run
from farm.diffusion.adapt import adapt_and_decode
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.latents import decode, encode, finite_rows, latent_mask, row_noise, to_pixels, to_unit
from farm.diffusion.schedule import Level
from farm.diffusion.text import Text
from farm.errors import ConfigError, WeightsError
from farm.fitting.adapters import adapter_url, is_fitted, read_adapter
from farm.methods import refine
from farm.methods.adabldm_stages import Editor, grow, plan_stages, sample_staged
from farm.methods.adabldm_trimap import read_foreground, trimap
from farm.methods.base import Made, Pixels, Request

NO_DEFECT = "no_visible_defect"
CONTROL = "control."  # names of the branch's tensors in an adapter


class Guided:
    """The guided prediction of a batch under its texts and hint; counts U-Net evaluations of each row."""

    def __init__(
        self, backbone: Backbone, prompts: tuple[str, ...], guidance: float, branch: Any, hint: Tensor, scale: float
    ) -> None:
        self._backbone, self._guidance, self._branch = backbone, guidance, branch
        self._hint, self._scale, self.evaluations = hint, scale, 0
        texts = [backbone.embed_prompts(prompts)]
        if guidance != 1:
            texts.insert(0, backbone.embed_prompts([""] * len(prompts)))
        self._copies, self._text = len(texts), Text.cat(texts)

    def __call__(self, z: Tensor, level: Level) -> Tensor:
        """e(empty) + g (e(text) - e(empty)), both with the branch's residuals."""
        self.evaluations += self._copies
        residuals = None
        if self._branch is not None:
            down, middle = self._backbone.control_residuals(self._branch, z, level.time, None, self._hint, self._scale)
            residuals = tuple(self._twice(skip) for skip in down), self._twice(middle)
        eps = self._backbone.predict(self._twice(z), level.time, self._text, residuals=residuals)
        if self._copies == 1:
            return eps
        empty, text = eps.chunk(2)
        return empty + self._guidance * (text - empty)

    def _twice(self, x: Tensor) -> Tensor:
        return torch.cat([x] * self._copies)


class AdaBldm:
    """The method; ``backbone`` is loaded from the run's model unless one is given."""

    needs_trajectory = False

    def __init__(
        self,
        config: AdaBldmConfig,
        run: Run,
        backbone: Backbone | None = None,
        adapter: Mapping[str, Tensor] | None = None,
    ) -> None:
        """``adapter`` is read from where ``config`` says unless it is given; an empty one is no branch.

        Raises ``WeightsError`` where the adapter is absent, damaged or was fitted on another base model.
        """
        self.config = config
        self.backbone = load_backbone(run.model, run.compute) if backbone is None else backbone
        if self.backbone.instruct:
            raise ConfigError(f"{run.model.path}: is an InstructPix2Pix model; adabldm needs a text-to-image model")
        if adapter is None and is_fitted(config):
            settings = config.fit.model_dump(mode="json") if config.fit and config.adapter is None else None
            adapter, _ = read_adapter(adapter_url(run, config), config.kind, self.backbone.fingerprint, settings)
        adapter = adapter or {}
        self.foreground = None if config.texture else read_foreground(adapter)
        self.branch = load_branch(self.backbone, adapter) if adapter else None
        self.levels = self.backbone.schedule.levels(config.steps)
        self.stages = plan_stages(config.preset, config.steps)

    @torch.no_grad()
    def __call__(self, request: Request) -> Made:
        """Make all B rows. Outside the dilated mask the bytes are the source's where ``composite`` is set."""
        made, evaluations = self.latents(request)
        finite = finite_rows(made)
        made = torch.where(finite[:, None, None, None], made, torch.zeros_like(made))
        x_ok = to_unit(request.source).to(made)
        mask = torch.from_numpy(request.mask > 0).to(made.device)
        images, _ = adapt_and_decode(self.backbone.vae, made, x_ok, mask, self.config.adapt)
        plain, kept = (self.backbone.decode(z) for z in (made, self.backbone.encode(request.source)))
        finite = finite & finite_rows(images, plain, kept)
        pictures = zip(to_pixels(images), to_pixels(plain), to_pixels(kept), strict=True)
        rows = [
            self._finish(*picture, source, mask, good)
            for picture, source, mask, good in zip(pictures, request.source, request.mask, finite.tolist(), strict=True)
        ]
        image, label, error, objection, message = zip(*rows, strict=True)
        return Made(
            image=np.stack(image),
            label=np.stack(label),
            evaluations=np.full(len(rows), evaluations, dtype=np.int32),
            background_error=np.asarray(error, dtype=np.float32),
            objection=objection,
            error=message,
        )

    @torch.no_grad()
    def latents(self, request: Request) -> tuple[Tensor, int]:
        """The edited latents (B, C, h, w), and U-Net evaluations of each row."""
        backbone, config = self.backbone, self.config
        z_ok = backbone.encode(request.source)
        seeds = request.seed.tolist()

        def noise(purpose: str, step: int) -> Tensor:
            return row_noise(seeds, f"adabldm/{purpose}/{step}", z_ok.shape[1:]).to(z_ok)

        editor = Editor(
            x_ok=to_unit(request.source).to(z_ok),
            z_ok=z_ok,
            mask=torch.from_numpy(request.mask > 0)[:, None].to(z_ok.device),
            cells=grow(latent_mask(request.mask, backbone.factor), config.dilate_cells).to(z_ok.device),
            encode=lambda unit: encode(backbone.vae, unit),
            decode=lambda z: decode(backbone.vae, z),
            noise=noise,
            renoise_to=config.renoise_to,
        )
        hint = self.hint(request.source, request.mask).to(z_ok)
        predict = Guided(backbone, request.prompt, config.guidance, self.branch, hint, config.control_scale)
        made = sample_staged(predict, noise("start", 0), self.levels, self.stages, editor)
        return made, predict.evaluations

    def hint(self, source: Pixels, mask: Pixels) -> Tensor:
        """The trimap (B, 3, H, W): all but the defect is foreground on a texture."""
        part = np.ones(mask.shape, bool) if self.foreground is None else self.foreground(source)
        return trimap(mask, part)

    def _finish(
        self, image: Pixels, plain: Pixels, reconstruction: Pixels, source: Pixels, mask: Pixels, finite: bool
    ) -> tuple[Pixels, Pixels, float, str, str]:
        """Image, label, background error, objection and error of one row.

        The label is the target mask where the change can be seen: images of the decoder as it was are compared, with
        (``plain``) and without the defect, so that its own error cancels and no adaptation is taken for a defect.
        """
        nothing = np.zeros_like(mask)
        if not mask.any():
            return source, nothing, 0.0, "", "the target mask is empty; a defect needs at least one pixel"
        if not finite:
            return source, nothing, 0.0, "", "latents or pixels are not finite; try compute.dtype float32"
        radius = self.config.dilate_px
        label = refine.refine(plain, reconstruction, mask, radius) & mask
        seen = int(label.sum()) >= max(1, self.config.min_visible * int(mask.sum()))
        error = refine.background_error(image, source, refine.dilate(mask, radius))
        kept = refine.composite(image, source, mask, radius) if self.config.composite else image
        return kept, label, error, "" if seen else NO_DEFECT, ""


def load_branch(backbone: Backbone, adapter: Mapping[str, Tensor]) -> Any:
    """The frozen control branch among an adapter's tensors; ``WeightsError`` where they do not fit the backbone."""
    branch = backbone.control(seed=0)
    weights = {name.removeprefix(CONTROL): value for name, value in adapter.items() if name.startswith(CONTROL)}
    try:
        branch.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).strip().splitlines()
        raise WeightsError(
            f"adabldm: the adapter does not fit a control branch of this base model ({' '.join(first[:2])}); "
            "run 'farm fit CONFIG' again"
        ) from error
    return branch.eval().requires_grad_(False).to(backbone.dtype)
