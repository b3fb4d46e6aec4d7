"""What ``adabldm`` learns: card 004 section 4 (Li et al., arXiv 2402.19330). The control branch, and nothing else.

    L = E |e - e_theta(z_t, t, text, branch(z_t, t, empty text, trimap))|^2

plus, where ``inside_weight`` asks for it, the same over the cells of the defect alone: a pit is a few cells of 256,
and the plain mean hardly sees it. On pasted composites (``adabldm_pairs``), made anew for every step, since a paste
costs less than reading one. The U-Net's text is dropped at times, as guidance has it; the branch always reads the
empty text. Here: U-Net, autoencoder and text encoder are frozen.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from farm.config import AdaBldmConfig, ControlFit, Run
from farm.diffusion.backbone import Backbone
from farm.diffusion.ddim import add_noise
from farm.diffusion.text import Text
from farm.errors import ConfigError, DataError
from farm.fitting.adabldm_pairs import cut_out, paste
from farm.fitting.grid import grey, grid
from farm.fitting.shots import Shots
from farm.fitting.task import Part
from farm.ids import generator
from farm.images import Pixels
from farm.methods.adabldm import CONTROL, AdaBldm
from farm.methods.adabldm_trimap import fit_foreground, read_foreground, trimap
from farm.methods.base import Request


class ControlTask:
    """Trains a control branch for ``backbone``, whose own weights stay as they are."""

    name = "adabldm"

    def __init__(self, config: AdaBldmConfig, run: Run, backbone: Backbone, shots: Shots) -> None:
        """Cuts the defects out, and finds the foreground of the normals where ``texture`` is false.

        Raises ``ConfigError`` where the arm has no ``fit``, ``DataError`` where there are no normals.
        """
        if config.fit is None:
            raise ConfigError("methods: this arm has no 'fit', so there is nothing to learn; give it one")
        if not len(shots.normals):
            raise DataError(f"{run.data.category}: no normal photograph can be read, so there is nothing to paste on")
        self.config, self.run, self.backbone, self.shots = config, run, backbone, shots
        self.fit: ControlFit = config.fit
        self.networks = nn.ModuleDict({"control": backbone.control(run.seed)})
        self.cutouts = [cut_out(image, mask) for image, mask in zip(shots.images, shots.masks, strict=True)]
        self.foreground = None if config.texture else fit_foreground(shots.normals)
        self.parts = (
            np.ones(shots.normals.shape[:3], bool) if self.foreground is None else self.foreground(shots.normals)
        )
        self.prompts = tuple(dict.fromkeys(shots.prompts))
        self.text = backbone.embed_prompts(["", *self.prompts])
        self.text_of = torch.tensor([1 + self.prompts.index(prompt) for prompt in shots.prompts])
        self.abar = torch.from_numpy(backbone.schedule.abar)

    def to(self, device: torch.device) -> None:
        """Move the networks, in float32."""
        self.backbone.to(device, torch.float32)
        self.networks.to(device)
        self.text = self.backbone.embed_prompts(["", *self.prompts])
        self.abar = self.abar.to(device)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """All of the branch at one rate."""
        return [{"params": list(self.networks["control"].parameters()), "lr": lr}]

    def loss(self, _step: int, draw: torch.Generator, part: Part) -> dict[str, Tensor]:
        """``loss``: the error of the ``whole``, and ``inside_weight`` times that of the defect's cells, ``inside``."""
        count, size = self.fit.loop.batch_size, self.run.size_px // self.backbone.factor
        seeds = torch.randint(2**62, (count,), generator=draw)
        which = torch.randint(len(self.cutouts), (count,), generator=draw)
        times = torch.randint(len(self.abar), (count,), generator=draw)
        noise = torch.randn((count, self.backbone.latent_channels, size, size), generator=draw)
        dropped = torch.rand(count, generator=draw) < self.fit.drop_text
        mine, device = part.rows(count), self.abar.device
        images, masks, parts = self.pairs(seeds[mine].tolist(), which[mine].tolist())
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            z0 = self.backbone.encode(images)
        noise, times = noise[mine].to(device), times[mine].to(device)
        z = add_noise(z0, noise, self.abar[times])
        read = torch.where(dropped, torch.zeros_like(which), self.text_of[which])[mine].to(device)
        predicted = self.predict(z, times, self.text[read], trimap(masks, parts).to(device))
        square = (predicted.float() - noise).square().mean(1)
        inside = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(masks).float().to(device), size)
        terms = {"whole": square.mean(), "inside": (square * inside).sum() / inside.sum().clamp(min=1)}
        return {"loss": terms["whole"] + self.fit.inside_weight * terms["inside"], **terms}

    def predict(self, z: Tensor, times: Tensor, text: Text, hint: Tensor) -> Tensor:
        """Noise predicted by the frozen U-Net with the branch."""
        residuals = self.backbone.control_residuals(self.networks["control"], z, times, None, hint)
        return self.backbone.predict(z, times, text, residuals=residuals)

    def pairs(self, seeds: list[int], which: list[int]) -> tuple[Pixels, Pixels, npt.NDArray[np.bool_]]:
        """Composites, masks and foregrounds, one for each seed and the shot it pastes."""
        made = [self._pair(seed, shot) for seed, shot in zip(seeds, which, strict=True)]
        images, masks, parts = zip(*made, strict=True)
        return np.stack(images), np.stack(masks), np.stack(parts)

    def adapter(self) -> dict[str, Tensor]:
        """What ``farm.methods.adabldm`` loads: the branch and the foreground predictor."""
        branch = {f"{CONTROL}{name}": value for name, value in self.networks["control"].state_dict().items()}
        return branch if self.foreground is None else {**branch, **self.foreground.tensors()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Set the networks to what ``adapter`` gave; ``WeightsError`` where it does not fit."""
        weights = {name.removeprefix(CONTROL): value for name, value in tensors.items() if name.startswith(CONTROL)}
        self.networks["control"].load_state_dict(weights)
        self.foreground = read_foreground(tensors)

    def show(self, count: int) -> Pixels:
        """``count`` lines of normal photograph, pasted mask, image, label; the decoder is not adapted for it."""
        which = [row * len(self.cutouts) // count for row in range(count)]
        _, masks, _ = self.pairs(list(range(count)), which)
        sources = np.stack([self._normal(row)[0] for row in range(count)])
        prompts, none = tuple(self.shots.prompts[shot] for shot in which), ("",) * count
        quick = self.config.model_copy(update={"adapt": self.config.adapt.model_copy(update={"iterations": 0})})
        method = AdaBldm(quick, self.run, self.backbone, self.adapter())
        made = method(Request(sources, masks, np.arange(count, dtype=np.int64), none, prompts, none))
        columns = [sources, grey(masks), made.image, grey(made.label)]
        return grid(columns)

    def _pair(self, seed: int, shot: int) -> tuple[Pixels, Pixels, npt.NDArray[np.bool_]]:
        normal, part = self._normal(seed)
        rng = generator(seed, "adabldm/paste")
        image, mask = paste(normal, part, self.cutouts[shot], rng, self.fit.rotation_deg, self.fit.scale)
        return image, mask, part

    def _normal(self, seed: int) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """A normal and its foreground, in one of the positions that ``flips`` allow."""
        rng = generator(seed, "adabldm/normal")
        row = int(rng.integers(len(self.shots.normals)))
        across, down, quarter = rng.integers(2), rng.integers(2), int(rng.integers(4))
        flips = self.fit.flips
        normal, part = self.shots.normals[row], self.parts[row]
        if "horizontal" in flips and across:
            normal, part = normal[:, ::-1], part[:, ::-1]
        if "vertical" in flips and down:
            normal, part = normal[::-1], part[::-1]
        if "quarter_turns" in flips:
            normal, part = np.rot90(normal, quarter), np.rot90(part, quarter)
        return np.ascontiguousarray(normal), np.ascontiguousarray(part)
