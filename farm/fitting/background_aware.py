"""What ``background_aware`` learns from a few real defects: card 001 section 4 (Cho et al., arXiv 2411.16767).

    z_t   = sqrt(a_t) z_0 + sqrt(1 - a_t) e                                       a: alpha-bar
    z_t^m = z_t outside the mask m; inside, sqrt(1 - a_t) e~ with e~ independent of e (or zero)
    L     = mean over m of |e - e_theta(z_t, t, C1)|^2  +  lambda_bg * mean over 1 - m of |e - e_theta(z_t^m, t, C2)|^2

The first term learns the defect, seeing everything; the second the background, not seeing the defect. Each is the
mean over its own cells, row by row, so that a hairline counts as much as a stain. The defect pass reads its texts as
in sampling: C1, the defect's text and learned token, inside the mask and C2, the normal text, outside.
"""

import numpy as np
import torch
from torch import Tensor, nn

from farm.config import BackgroundAwareConfig, LoraFit, Run
from farm.diffusion.attention import mask_pyramid
from farm.diffusion.backbone import Backbone
from farm.diffusion.ddim import add_noise
from farm.diffusion.inversion import Inverter
from farm.diffusion.latents import blend, latent_mask
from farm.diffusion.text import Text
from farm.errors import ConfigError
from farm.fitting.grid import grey, grid
from farm.fitting.shots import Shots, turned
from farm.fitting.task import Part
from farm.images import Pixels
from farm.methods.background_adapter import put_adapter, take_adapter, token_of, told_prompts
from farm.methods.background_aware import BackgroundAware
from farm.methods.base import Request


def noised(z0: Tensor, noise: Tensor, filler: Tensor, m: Tensor, abar: Tensor) -> tuple[Tensor, Tensor]:
    """z_t and z_t^m, (B, C, h, w) each, at the levels ``abar`` (B,); ``m`` is bool (B, 1, h, w)."""
    seen = add_noise(z0, noise, abar)
    return seen, blend(seen, add_noise(torch.zeros_like(z0), filler, abar), m)


def region_error(predicted: Tensor, noise: Tensor, region: Tensor) -> Tensor:
    """(B,): mean of |noise - predicted|^2 over the cells of ``region``, bool (B, 1, h, w); 0 where it has none."""
    square = (predicted.float() - noise).square().mean(dim=1, keepdim=True)
    cells = region.sum(dim=(1, 2, 3)).clamp(min=1)
    return torch.where(region, square, torch.zeros_like(square)).sum(dim=(1, 2, 3)) / cells


class BackgroundAwareTask:
    """Low-rank adapters (or the whole U-Net) and one token for each defect, of a private ``backbone``."""

    name = "background_aware"

    def __init__(self, config: BackgroundAwareConfig, run: Run, backbone: Backbone, shots: Shots) -> None:
        """Encodes every position of the shots once. ``ConfigError`` where two defects have one text."""
        if config.fit is None:
            raise ConfigError("methods: this arm has no 'fit', so there is nothing to learn; give it one")
        self.config, self.run, self.backbone, self.shots = config, run, backbone, shots
        self.fit: LoraFit = config.fit
        self.networks = nn.ModuleDict()
        self._learn(tuple(dict.fromkeys(shots.defects)))
        told = told_prompts(run, backbone)
        self.prompts = tuple(dict.fromkeys(shots.prompts))
        self.told = [told.get(prompt, prompt) for prompt in self.prompts]
        images, masks = turned(shots.images, self.fit.flips), turned(shots.masks, self.fit.flips)
        self.latents = self._encode(np.concatenate(images))  # (K, C, h, w), position by position
        self.masks = latent_mask(np.concatenate(masks), backbone.factor)
        self.text_of = torch.tensor([self.prompts.index(prompt) for prompt in shots.prompts] * len(images))
        self.abar = torch.from_numpy(backbone.schedule.abar)
        self.still = backbone.embed_prompts(["", run.prompts.normal])  # no learned token is in these

    def to(self, device: torch.device) -> None:
        """Move the networks, in float32; the latents stay where they are."""
        self.backbone.to(device, torch.float32)
        self.still = self.backbone.embed_prompts(["", self.run.prompts.normal])
        self.abar = self.abar.to(device)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """Weights at ``lr``; learned tokens at their own rate, and never decayed towards zero."""
        groups: list[dict[str, object]] = [{"params": list(self.networks["weights"].parameters()), "lr": lr}]
        if "tokens" in self.networks:
            tokens = list(self.networks["tokens"].parameters())
            groups.append({"params": tokens, "lr": self.fit.token_lr, "weight_decay": 0.0})
        return groups

    def loss(self, _step: int, draw: torch.Generator, part: Part) -> dict[str, Tensor]:
        """``loss``, and its two terms ``defect`` and ``background`` before lambda_bg."""
        count, shape, device = self.fit.loop.batch_size, self.latents.shape[1:], self.abar.device
        rows = torch.randint(len(self.latents), (count,), generator=draw)
        times = torch.randint(len(self.abar), (count,), generator=draw)
        noise, filler = (torch.randn((count, *shape), generator=draw) for _ in range(2))
        dropped = torch.rand(count, generator=draw) < self.fit.drop_text
        mine = part.rows(count)
        rows, dropped = rows[mine], dropped[mine].to(device)
        noise, filler, times = noise[mine].to(device), filler[mine].to(device), times[mine].to(device)
        if self.config.hole_fill == "zero":
            filler = torch.zeros_like(filler)
        m = self.masks[rows].to(device)
        seen, hidden = noised(self.latents[rows].to(device), noise, filler, m, self.abar[times])
        texts = self._texts(self.text_of[rows].to(device), dropped)
        regions = mask_pyramid(torch.cat([m, torch.zeros_like(m)]))  # of the second pass all reads C2
        predicted = self.backbone.predict(torch.cat([seen, hidden]), times.repeat(2), texts, regions)
        defect = region_error(predicted[: len(m)], noise, m).mean()
        background = region_error(predicted[len(m) :], noise, ~m).mean()
        terms = {"defect": defect.detach(), "background": background.detach()}
        return {"loss": defect + self.fit.background_weight * background, **terms}

    def adapter(self) -> dict[str, Tensor]:
        """What ``farm.methods.background_aware`` loads."""
        return take_adapter(self.backbone, self.fit.whole_unet)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Set the networks to what ``adapter`` gave; ``WeightsError`` where it does not fit."""
        put_adapter(self.backbone, tensors)

    @torch.no_grad()
    def show(self, count: int) -> Pixels:
        """``count`` lines of normal photograph, target mask, image, label: the shots' masks on the run's normals."""
        normals = self.shots.normals if len(self.shots.normals) else self.shots.images
        sources = normals[np.arange(count) * len(normals) // count % len(normals)]
        places = np.arange(count) * len(self.shots.masks) // count % len(self.shots.masks)
        masks, prompts = self.shots.masks[places], tuple(self.shots.prompts[place] for place in places)
        method = BackgroundAware(self.config, self.run, self.backbone, adapter={})
        normal, trajectory = (self.run.prompts.normal,) * count, None
        if method.needs_trajectory:
            trajectory = Inverter(self.backbone, self.config.steps, self.config.fixed_point, count)(sources, normal)
        seeds = np.arange(count, dtype=np.int64)
        made = method(Request(sources, masks, seeds, ("",) * count, prompts, normal, trajectory))
        columns = [sources, grey(masks), made.image, grey(made.label)]
        return grid(columns)

    def _learn(self, defects: tuple[str, ...]) -> None:
        """Add what is trained to the backbone, and keep its parameters in ``networks``."""
        if self.fit.whole_unet:
            self.networks["weights"] = self.backbone.unet.requires_grad_(True)
        else:
            self.backbone.add_lora(self.fit.rank, self.run.seed)
            self.networks["weights"] = nn.ParameterList(self.backbone.lora_parameters())
        if self.fit.token:
            for defect in defects:
                self.backbone.add_token(token_of(defect), like=defect.replace("_", " "), seed=self.run.seed)
            self.networks["tokens"] = nn.ParameterList(self.backbone.token_parameters())

    @torch.no_grad()
    def _encode(self, images: Pixels) -> Tensor:
        size = self.run.compute.batch_size
        blocks = [images[start : start + size] for start in range(0, len(images), size)]
        return torch.cat([self.backbone.encode(block).cpu() for block in blocks])

    def _texts(self, which: Tensor, dropped: Tensor) -> Text:
        """(2B): [C1; C2] of the defect passes, both empty where dropped as guidance has them, then [C2; C2]."""
        table = Text.cat([self.still, self.backbone.embed_live(self.told)])
        none, one = torch.zeros_like(which), torch.ones_like(which)
        first = torch.cat([torch.where(dropped, none, which + 2), one])
        second = torch.cat([torch.where(dropped, none, one), one])
        return table[first].beside(table[second])
