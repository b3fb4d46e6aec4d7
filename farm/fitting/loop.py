"""One training loop for everything that learns by gradients: AdamW, cosine rate, EMA, exact resume.

Every random draw of step ``i`` comes from a generator made of (seed, task, i), so a training that was cut off goes on
as if nothing had happened. Gradients are averaged over ``accumulate`` parts and over the workers before one update, so
one worker with a batch of 8, two with 4 each, and one that accumulates 2 x 4 learn the same up to the order of
additions. Networks must have no batch statistics that move: each worker would see those of its own rows.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from farm.config.loop import LoopConfig
from farm.fitting.task import Part, Task, check_parts, generator
from farm.fitting.workers import Alone, Workers

LOG_EVERY = 50  # steps from one point of the loss curve to the next; a checkpoint adds one
ALONE, CPU = Alone(), torch.device("cpu")


def rate(step: int, loop: LoopConfig) -> float:
    """Share of the peak rate at ``step``: linear warm-up, then half a cosine down to ``final_lr``."""
    if step < loop.warmup:
        return (step + 1) / loop.warmup
    done = (step - loop.warmup) / max(1, loop.steps - loop.warmup)
    return loop.final_lr + (1 - loop.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Fit:
    """A training that can stop and go on: weights, their EMA, the optimiser and the loss curve."""

    def __init__(
        self, task: Task, loop: LoopConfig, seed: int, workers: Workers = ALONE, device: torch.device = CPU
    ) -> None:
        """Moves ``task`` to ``device``. ``ConfigError`` where the workers cannot share a batch equally."""
        check_parts(loop, workers.count)
        task.to(device)
        self.task, self.loop, self.seed, self.workers, self.device = task, loop, seed, workers, device
        self.step, self.seconds = 0, 0.0
        self.curve: list[dict[str, float]] = []
        self._mean: dict[str, float] = {}
        self._bf16 = loop.bf16 and has_bf16(device)
        workers.share(list(task.networks.state_dict().values()))
        self.optimizer = torch.optim.AdamW(
            task.groups(loop.lr), betas=(0.9, 0.99), weight_decay=loop.weight_decay, fused=True
        )
        self.peaks = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.ema = {name: value.detach().clone() for name, value in task.networks.state_dict().items()}

    def run(self, keep: Callable[["Fit"], None], until_s: float | None = None) -> None:
        """Train to the last step; ``keep`` gets this object at every checkpoint, and at the last step.

        ``until_s``, for a training without other workers, ends it with a checkpoint after so many seconds.
        """
        begun = time.perf_counter()
        while self.step < self.loop.steps:
            before = time.perf_counter()
            terms = self.advance()
            self._mean = {name: 0.98 * self._mean.get(name, value) + 0.02 * value for name, value in terms.items()}
            self.seconds += time.perf_counter() - before
            late = until_s is not None and time.perf_counter() - begun > until_s
            due = late or self.step % self.loop.checkpoint_every == 0 or self.step == self.loop.steps
            if due or self.step % LOG_EVERY == 0:
                self.curve.append({"step": self.step, "seconds": self.seconds, **self._mean})
            if due:
                keep(self)
            if late:
                break

    def advance(self) -> dict[str, float]:
        """One step: loss, gradient, update, EMA. Returns the terms of the whole batch."""
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rate(self.step, self.loop)
        learned = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        terms = self._backward()
        if self.workers.count > 1:
            terms = self._average(learned, terms)
        nn.utils.clip_grad_norm_(learned, self.loop.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return {name: float(value) for name, value in terms.items()}

    def _backward(self) -> dict[str, Tensor]:
        """Add this worker's gradients up; gives the terms, each the mean over this worker's rows."""
        count = self.loop.accumulate
        parts: list[dict[str, Tensor]] = []
        for place in range(count):
            part = Part(self.workers.rank * count + place, self.workers.count * count)
            draw = generator(self.seed, self.task.name, self.step)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
                terms = self.task.loss(self.step, draw, part)
            (terms["loss"] / count).backward()
            parts.append({name: value.detach().float() for name, value in terms.items()})
        return {name: torch.stack([terms[name] for terms in parts]).mean() for name in parts[0]}

    def _average(self, learned: list[nn.Parameter], terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gradients and terms over all workers; a parameter that no worker used stays without a gradient."""
        used = torch.tensor([float(parameter.grad is not None) for parameter in learned], device=self.device)
        means = torch.stack(list(terms.values()))
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in learned]
        self.workers.average([*grads, used, means])
        for parameter, grad, by_any in zip(learned, grads, used.tolist(), strict=True):
            parameter.grad = grad if by_any else None
        return dict(zip(terms, means, strict=True))

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.loop.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.task.networks.state_dict().items():
            if value.is_floating_point():
                self.ema[name].lerp_(value, 1 - keep)
            else:
                self.ema[name].copy_(value)

    def save(self, path: Path) -> None:
        """Write the checkpoint ``<name>.pt`` (by rename), and the loss curve ``<name>_curve.json`` beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "networks": self.task.networks.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "curve": self.curve,
            "mean": self._mean,
            "seconds": self.seconds,
        }
        part = path.with_name(f"{path.name}.part")
        torch.save(state, part)
        os.replace(part, path)
        path.with_name(f"{path.stem}_curve.json").write_text(json.dumps(self.curve))

    def resume(self, path: Path) -> bool:
        """Go on from the checkpoint at ``path``, if there is one."""
        if not path.is_file():
            return False
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.task.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.step, self.curve = state["step"], state["curve"]
        self._mean = state.get("mean", {})
        self.seconds = state.get("seconds", self.curve[-1]["seconds"] if self.curve else 0.0)
        return True

    @contextmanager
    def averaged(self) -> Iterator[nn.ModuleDict]:
        """The networks with their EMA weights in evaluation mode; afterwards they learn on as they were."""
        networks = self.task.networks
        modes = {module: module.training for module in networks.modules()}
        learned = {name: value.detach().clone() for name, value in networks.state_dict().items()}
        try:
            networks.load_state_dict(self.ema)
            yield networks.eval()
        finally:
            networks.load_state_dict(learned)
            for module, training in modes.items():
                module.training = training

    def finished(self) -> nn.ModuleDict:
        """The networks with their EMA weights, in evaluation mode."""
        self.task.networks.load_state_dict(self.ema)
        return self.task.networks.eval()


def read_ema(path: Path) -> dict[str, Tensor]:
    """The EMA weights of the checkpoint at ``path``, on the CPU, named as in the task's ``networks``."""
    ema: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["ema"]
    return ema


def has_bf16(device: torch.device) -> bool:
    """Whether ``device`` computes in bfloat16 itself; a CPU always does, if slowly."""
    return device.type != "cuda" or bool(torch.cuda.is_bf16_supported(including_emulation=False))
