"""What a training minimises, and the share of a batch that one worker computes.

A task draws all random numbers of a step for the whole global batch and then computes the rows of its part alone. So
the loss of a step does not depend on how many workers share it, nor on gradient accumulation, except by rounding.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from farm.config.loop import LoopConfig
from farm.errors import ConfigError
from farm.ids import digest


@dataclass(frozen=True)
class Part:
    """One of ``count`` equal shares of a global batch: every ``count``-th row, from row ``index`` on."""

    index: int = 0
    count: int = 1

    def rows(self, n: int) -> slice:
        """The rows of this part among ``n``; the parts of a batch share it without a gap or an overlap."""
        return slice(self.index, n, self.count)


class Task(Protocol):
    """What one training minimises. Two tasks built from equal settings begin with equal weights.

    ``networks`` holds what is saved and averaged, so a frozen model that a task merely uses stays outside of it.
    Random numbers come from ``draw`` alone (a network with dropout is not repeated by a resumed run).
    """

    name: str
    networks: nn.ModuleDict

    def to(self, device: torch.device, /) -> None:
        """Move all that the loss computes with; called once, before ``groups``."""

    def groups(self, lr: float, /) -> list[dict[str, object]]:
        """The parameter groups of AdamW with their peak rates."""

    def loss(self, step: int, draw: torch.Generator, part: Part, /) -> dict[str, Tensor]:
        """The terms of step ``step``, each the mean over the rows of ``part``; the names are the same for all parts.

        ``loss`` is minimised, the others are logged. ``draw`` is on the CPU: draw there for the whole batch, in the
        same order whatever ``part`` is, take ``part.rows`` of it, then move.
        """


def generator(seed: int, purpose: str, step: int) -> torch.Generator:
    """The random numbers of one step (on the CPU), the same on every machine and after every restart."""
    return torch.Generator().manual_seed(int.from_bytes(digest(seed, purpose, step)[:7], "little"))


def check_parts(loop: LoopConfig, workers: int) -> None:
    """Raise ``ConfigError`` where a batch cannot be shared equally by ``workers`` that accumulate."""
    parts = workers * loop.accumulate
    if loop.batch_size % parts:
        raise ConfigError(
            f"loop: batch_size {loop.batch_size} cannot be shared equally by {workers} worker(s) x accumulate "
            f"{loop.accumulate} = {parts} parts; use a multiple of {parts}, e.g. {-(-loop.batch_size // parts) * parts}"
        )
