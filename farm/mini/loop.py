"""One training loop for the three networks: AdamW, cosine rate, EMA, exact resume.

A task says what it learns and what step ``i`` costs; every random draw of step ``i`` comes from a generator made of
(seed, task, i), so a run that was cut off goes on as if nothing had happened.
"""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from farm.ids import digest
from farm.mini.recipe import LoopRecipe


class Task(Protocol):
    """What one training minimises."""

    name: str
    networks: nn.ModuleDict

    def loss(self, step: int, /, draw: torch.Generator) -> dict[str, Tensor]:
        """The terms of step ``step``; ``loss`` is minimised, the others are logged."""

    def groups(self, lr: float) -> list[dict[str, object]]:
        """The parameter groups with their peak rates."""


def generator(seed: int, purpose: str, step: int) -> torch.Generator:
    """The random numbers of one step, the same on every machine and after every restart."""
    return torch.Generator().manual_seed(int.from_bytes(digest(seed, purpose, step)[:7], "little"))


def rate(step: int, recipe: LoopRecipe) -> float:
    """Share of the peak rate at ``step``: linear warm-up, then half a cosine down to ``final_lr``."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.final_lr + (1 - recipe.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Fit:
    """A training that can stop and go on: weights, their EMA, the optimiser and the loss curve."""

    def __init__(self, task: Task, recipe: LoopRecipe, seed: int) -> None:
        self.task, self.recipe, self.seed = task, recipe, seed
        self.step = 0
        self.curve: list[dict[str, float]] = []
        self.optimizer = torch.optim.AdamW(
            task.groups(recipe.lr), betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True
        )
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.ema = {name: value.detach().clone() for name, value in task.networks.state_dict().items()}

    def advance(self) -> dict[str, float]:
        """One step: loss, gradient, update, EMA. Returns the logged terms."""
        draw = generator(self.seed, self.task.name, self.step)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rate(self.step, self.recipe)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bf16):
            terms = self.task.loss(self.step, draw)
        terms["loss"].backward()
        learned = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(learned, self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return {name: float(value.detach()) for name, value in terms.items()}

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.task.networks.state_dict().items():
            if value.is_floating_point():
                self.ema[name].lerp_(value, 1 - keep)
            else:
                self.ema[name].copy_(value)

    def run(
        self, folder: Path, until_s: float | None = None, watch: Callable[["Fit"], None] | None = None
    ) -> dict[str, float]:
        """Train to the recipe's end, or for ``until_s`` seconds; checkpoints, curve and ``watch`` on the way."""
        started, mean = time.perf_counter(), dict[str, float]()
        while self.step < self.recipe.steps:
            terms = self.advance()
            mean = {name: 0.98 * mean.get(name, value) + 0.02 * value for name, value in terms.items()}
            if self.step % 50 == 0:
                self.curve.append({"step": self.step, "seconds": time.perf_counter() - started, **mean})
            late = until_s is not None and time.perf_counter() - started > until_s
            if self.step % self.recipe.checkpoint_every == 0 or late or self.step == self.recipe.steps:
                self.save(folder)
                if watch is not None:
                    watch(self)
            if late:
                break
        return mean

    def save(self, folder: Path) -> None:
        """Write the checkpoint (by rename) and the loss curve."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "networks": self.task.networks.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "curve": self.curve,
        }
        part = folder / f"{self.task.name}.pt.part"
        torch.save(state, part)
        os.replace(part, folder / f"{self.task.name}.pt")
        (folder / f"{self.task.name}_curve.json").write_text(json.dumps(self.curve))

    def resume(self, folder: Path) -> bool:
        """Go on from the checkpoint in ``folder``, if there is one."""
        path = folder / f"{self.task.name}.pt"
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        self.task.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.ema, self.curve = state["step"], state["ema"], state["curve"]
        return True

    def finished(self) -> nn.ModuleDict:
        """The networks with their EMA weights, in evaluation mode."""
        self.task.networks.load_state_dict(self.ema)
        return self.task.networks.eval()
