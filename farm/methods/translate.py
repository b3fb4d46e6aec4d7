"""Off-the-shelf translation of photographs: arXiv 2512.23227 in the reading of card 000, sections 3 and 6.

``translate_engines`` has the three ways. ``inpaint`` changes the target mask, and its label is refined inside it.
``instruct`` and ``sdedit`` put the defect where they like: the plan's target mask means nothing to them, and the label
is found by differencing the image with its source's own reconstruction, so that the autoencoder's error, which both
share, cancels. With ``composite`` only the label, feathered, comes from the image; all other bytes are the source's.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from farm.config import Run, TranslateConfig
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.ddim import sample
from farm.diffusion.latents import finite_rows, latent_mask, row_noise, to_pixels
from farm.errors import WeightsError
from farm.foreground import foreground
from farm.methods import refine, translate_engines
from farm.methods.base import Made, Pixels, Request
from farm.methods.differencing import NO_DEFECT, Difference, Differencing
from farm.methods.translate_engines import DualGuidance, TextGuidance

Finished = tuple[Pixels, Pixels, float, str, str]  # image, label, background error, objection, error


class Translate:
    """The method; ``backbone`` is loaded from the run's model unless one is given.

    Raises ``WeightsError`` where engine and model do not fit: ``instruct`` needs an 8-channel U-Net, the others none.
    """

    needs_trajectory = False

    def __init__(self, config: TranslateConfig, run: Run, backbone: Backbone | None = None) -> None:
        self.config = config
        self.backbone = load_backbone(run.model, run.compute) if backbone is None else backbone
        _check_fit(config, run.model.path, self.backbone.instruct)
        levels = self.backbone.schedule.levels(config.steps)
        redone = config.steps if config.engine == "instruct" else max(1, round(config.strength * config.steps))
        self.levels = levels[: 1 + redone]
        self._differencing = (
            None if config.engine == "inpaint" else Differencing(config.align_px, config.min_area, self.backbone.device)
        )

    def __call__(self, request: Request) -> Made:
        """Make all B rows. Outside the dilated label (``inpaint``: target) the bytes are the source's, if composed."""
        z0 = self.backbone.encode(request.source)
        made, evaluations = self.latents(request, z0)
        decoded, plain = self.backbone.decode(made), self.backbone.decode(z0)
        finite = finite_rows(z0, made, decoded, plain).tolist()
        images, references = to_pixels(decoded), to_pixels(plain)
        if self._differencing is None:
            rows = [
                self._inside(*row) if good else _not_finite(row[2])
                for *row, good in zip(images, references, request.source, request.mask, finite, strict=True)
            ]
        else:
            parts = np.stack([self._allowed(source) for source in request.source])
            found = self._differencing(images, references, parts)
            rows = [
                self._found(*row) if good else _not_finite(row[1])
                for *row, good in zip(found, request.source, finite, strict=True)
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

    def latents(self, request: Request, z0: Tensor) -> tuple[Tensor, int]:
        """The translated latents (B, C, h, w) and the network evaluations of each row; ``z0`` is the encoded source."""
        config, backbone = self.config, self.backbone
        noise = row_noise(request.seed.tolist(), f"translate/{config.engine}", z0.shape[1:]).to(z0)
        if config.engine == "instruct":
            source = translate_engines.seen_source(backbone, z0)
            dual = DualGuidance(backbone, request.prompt, source, config.image_guidance, config.guidance)
            return sample(dual, noise, self.levels), dual.evaluations
        guided = TextGuidance(backbone, request.prompt, config.guidance)
        if config.engine == "sdedit":
            return translate_engines.sdedit(guided, z0, noise, self.levels), guided.evaluations
        m = latent_mask(request.mask, backbone.factor).to(z0.device)
        return translate_engines.inpaint(guided, z0, noise, m, self.levels), guided.evaluations

    def _allowed(self, source: Pixels) -> npt.NDArray[np.bool_]:
        """Where a defect may be found: on the product and a little beyond its outline."""
        part = foreground(source)
        return part if part.all() else refine.dilate(part.astype(np.uint8), self.config.dilate_px) > 0

    def _found(self, found: Difference, source: Pixels) -> Finished:
        radius = self.config.dilate_px
        error = refine.background_error(found.image, source, refine.dilate(found.mask, radius))
        kept = refine.composite(found.image, source, found.mask, radius) if self.config.composite else found.image
        return kept, found.mask, error, found.objection, ""

    def _inside(self, image: Pixels, reference: Pixels, source: Pixels, mask: Pixels) -> Finished:
        if not mask.any():
            return source, np.zeros_like(mask), 0.0, "", "the target mask is empty; a defect needs at least one pixel"
        radius = self.config.dilate_px
        label = refine.refine(image, reference, mask, radius)
        seen = int(label.sum()) >= max(1, self.config.min_visible * int(mask.sum()))
        error = refine.background_error(image, source, refine.dilate(mask, radius))
        kept = refine.composite(image, source, mask, radius) if self.config.composite else image
        return kept, label, error, "" if seen else NO_DEFECT, ""


def _check_fit(config: TranslateConfig, model: str, instruct: bool) -> None:
    if config.engine == "instruct" and not instruct:
        raise WeightsError(
            f"{model}: translate with engine 'instruct' needs a model whose U-Net also reads the source (twice the "
            "latent channels), such as InstructPix2Pix; this one does not. Give one, or set engine to sdedit or inpaint"
        )
    if config.engine != "instruct" and instruct:
        raise WeightsError(
            f"{model}: is an instruct model (its U-Net also reads the source); translate with engine "
            f"'{config.engine}' needs a plain one. Set engine to instruct, or give another model"
        )


def _not_finite(source: Pixels) -> Finished:
    nothing = np.zeros(source.shape[:2], np.uint8)
    return source, nothing, 0.0, "", "latents or pixels are not finite; try compute.dtype float32"
