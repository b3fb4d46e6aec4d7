"""What ``dual`` learns from the few defects of one kind: card 003 section 4 (Jin et al., arXiv 2408.13509).

    L = |e - e_theta(z_t, t, tau(p) [, I_b])|^2 + |e* - e_theta(z'_t, t, tau(p'))|^2

z is the whole image and z' its anomaly part on mid-grey; one time for both, independent noises; as one mean over the
interleaved batch. For objects the picture's background I_b, the object black, is noised to the same time with a noise
of its own. The U-Net and the autoencoder are frozen; latents are posterior means, as everywhere on the farm.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from farm.config import DualConfig, DualFit, Flip, Run
from farm.diffusion.backbone import Backbone
from farm.diffusion.ddim import add_noise
from farm.diffusion.dual import DualNetwork, Memory, interleave
from farm.diffusion.latents import encode, to_pixels, to_unit
from farm.diffusion.text import Text
from farm.errors import ConfigError
from farm.fitting.grid import grey, grid
from farm.fitting.shots import Shots, turned
from farm.fitting.task import Part
from farm.foreground import foreground
from farm.images import Pixels
from farm.methods.base import Request
from farm.methods.dual import Dual

FLIPS: dict[str, tuple[Flip, ...]] = {"cable": ()}  # categories that a mirror image does not belong to


def anomaly_part(unit: Tensor, mask: Tensor) -> Tensor:
    """I_a = I M of images (B, 3, H, W) in [-1, 1] and masks (B, 1, H, W): exactly 0, mid-grey, where M is 0."""
    return torch.where(mask > 0.5, unit, torch.zeros_like(unit))


def allowed_flips(fit: DualFit, category: str) -> tuple[Flip, ...]:
    """The flips of ``fit`` that the category allows."""
    known = FLIPS.get(category, fit.flips) if fit.by_category else fit.flips
    return tuple(flip for flip in fit.flips if flip in known)


class DualTask:
    """The two branches, interaction, compensation and the texts' adapters, on a private frozen ``backbone``."""

    name = "dual"

    def __init__(self, config: DualConfig, run: Run, backbone: Backbone, shots: Shots) -> None:
        """Encodes every position of the shots once. ``ConfigError`` where shots of several defects come."""
        if config.fit is None:
            raise ConfigError("methods: this arm has no 'fit', so there is nothing to learn; give it one")
        if len(set(shots.defects)) != 1:
            raise ConfigError(
                f"methods: 'dual' learns one defect; found shots of {', '.join(sorted(set(shots.defects)))}. Give the "
                "arm a 'defect', or 'each' for an arm of each"
            )
        self.config, self.run, self.fit, self.shots = config, run, config.fit, shots
        self.network = DualNetwork(backbone, config.fit, run.seed)
        texts = nn.ParameterList(self.network.text_parameters())
        self.networks = nn.ModuleDict({"layers": self.network.layers, "texts": texts})
        flips = allowed_flips(config.fit, run.data.category)
        images, masks = (np.concatenate(turned(x, flips)) for x in (shots.images, shots.masks))
        self.whole, self.part, self.bare = self._encode(images, masks)
        self.abar = torch.from_numpy(backbone.schedule.abar)

    def to(self, device: torch.device) -> None:
        """Move the networks, in float32; the latents stay where they are."""
        self.network.to(device, torch.float32)
        self.abar = self.abar.to(device)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """All that is learned at ``lr``."""
        return [{"params": list(self.networks.parameters()), "lr": lr}]

    def loss(self, _step: int, draw: torch.Generator, part: Part) -> dict[str, Tensor]:
        """``loss``, the mean over the interleaved batch, and the mean of each branch."""
        count, shape, device = self.fit.loop.batch_size, self.whole.shape[1:], self.abar.device
        rows = torch.randint(len(self.whole), (count,), generator=draw)
        times = torch.randint(len(self.abar), (count,), generator=draw)
        noises = torch.randn((3, count, *shape), generator=draw)
        mine = part.rows(count)
        rows, times, noises = rows[mine], times[mine].to(device), noises[:, mine].to(device)
        pairs, noise = interleave(self.whole[rows], self.part[rows]).to(device), interleave(noises[0], noises[1])
        both = times.repeat_interleave(2)
        told = self.network.backbone.embed_live([self.config.whole_prompt, self.config.part_prompt])
        text = told[torch.arange(2, device=device).repeat(len(rows))]
        memory = None if self.bare is None else self._memory(self.bare[rows].to(device), noises[2], times, told)
        predicted = self.network.predict(add_noise(pairs, noise, self.abar[both]), both, text, memory)
        errors = (predicted - noise).square().flatten(1).mean(1)
        return {"loss": errors.mean(), "whole": errors[0::2].mean().detach(), "part": errors[1::2].mean().detach()}

    def adapter(self) -> dict[str, Tensor]:
        """What ``farm.methods.dual`` loads."""
        return self.network.state()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Set the networks to what ``adapter`` gave; ``WeightsError`` where it does not fit."""
        self.network.load(tensors)

    @torch.no_grad()
    def show(self, count: int) -> Pixels:
        """``count`` lines of a shot, an image as it is made, its part and its mask."""
        places = np.arange(count) * len(self.shots.images) // count % len(self.shots.images)
        shots, blank = self.shots.images[places], ("",) * count
        seeds = np.arange(count, dtype=np.int64)
        method = Dual.of(self.config.model_copy(update={"composite": False}), self.network)
        request = Request(shots, self.shots.masks[places], seeds, blank, blank, blank)
        part, made = to_pixels(method.pictures(request)[1]), method(request)
        columns = [shots, made.image, part, grey(made.label)]
        return grid(columns)

    def _memory(self, bare: Tensor, noise: Tensor, times: Tensor, told: Text) -> Memory:
        whole = told[torch.zeros(len(bare), dtype=torch.int64, device=bare.device)]
        return self.network.remember(add_noise(bare, noise, self.abar[times]), times, whole)

    @torch.no_grad()
    def _encode(self, images: Pixels, masks: Pixels) -> tuple[Tensor, Tensor, Tensor | None]:
        """Latents of whole images, of their parts and, where the config asks, of their backgrounds."""
        vae: Any = self.network.backbone.vae
        size, made = self.run.compute.batch_size, []
        for start in range(0, len(images), size):
            some = images[start : start + size]
            unit = to_unit(some).to(self.network.backbone.device)
            mask = torch.from_numpy(masks[start : start + size])[:, None].to(unit)
            kinds = [unit, anomaly_part(unit, mask)]
            if self.config.background:
                objects = np.stack([foreground(image) for image in some])[..., None].astype(np.uint8)
                kinds.append(to_unit(some * (1 - objects)).to(unit))
            made.append([encode(vae, kind).cpu() for kind in kinds])
        whole, part, *rest = (torch.cat(kind) for kind in zip(*made, strict=True))
        return whole, part, rest[0] if rest else None
