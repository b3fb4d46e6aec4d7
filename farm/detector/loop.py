"""The optimiser, its schedule, and one training step over any iterable of batches.

AdamW; the learning rate falls to a fifth at 80 % and again at 90 % of the steps (card 000, section 4) and is a pure
function of the step, so nothing but the step count and AdamW's moments has to be kept for an exact resume.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from farm.config import StageConfig
from farm.detector.loss import detector_loss
from farm.detector.outputs import Outputs

DROPS = (0.8, 0.9)  # shares of the steps after which the rate is multiplied by DROP
DROP = 0.2
ENCODER_RATE = 0.1  # pretrained layers learn at a tenth of the rate: ImageNet features outlive a few hundred steps
WEIGHT_DECAY = 1e-4

Pixels = npt.NDArray[np.uint8]
Forward = Callable[[Tensor], Outputs]
Batch = tuple[Pixels, Pixels] | tuple[Pixels, Pixels, Pixels | None]  # image, label and, for some, source


def learning_rate(base: float, step: int, steps: int) -> float:
    """The rate of step ``step`` (0-based) of ``steps``."""
    rate = base
    for drop in DROPS:
        rate *= DROP if step >= drop * steps else 1.0
    return rate


class Loop:
    """One model in training; ``forward`` is the model, or the model wrapped for data parallelism."""

    def __init__(self, model: nn.Module, config: StageConfig, forward: Forward | None = None) -> None:
        self.model = model
        self.config = config
        self.step = 0  # steps done
        self.forward = forward or model
        self.optimiser = torch.optim.AdamW(_groups(model), lr=config.lr, weight_decay=WEIGHT_DECAY)
        model.train()

    def learn(self, image: Pixels, label: Pixels, source: Pixels | None = None) -> Tensor:
        """One step on uint8 (B, H, W, 3) and uint8 (B, H, W) in {0, 1}; gives the batch's loss, detached.

        ``source`` (B, H, W, 3), the images without their defects, is for networks that reconstruct.
        """
        rate = learning_rate(self.config.lr, self.step, self.config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        device = next(self.model.parameters()).device
        wanted = None if source is None else to_pixels(source, device)
        loss = detector_loss(self.forward(to_pixels(image, device)), torch.tensor(label, device=device), wanted)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return loss.detach()

    def run(self, batches: Iterable[Batch]) -> list[float]:
        """``learn`` on each batch in turn; gives the losses."""
        return [float(self.learn(*batch)) for batch in batches]


def to_pixels(image: Pixels, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) as float32 (B, 3, H, W) 0..255 on ``device``."""
    return torch.tensor(image, device=device).permute(0, 3, 1, 2).float()


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Parameters in the model's order: a pretrained ``encoder``'s learn slower than the others."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    slow = [weight for name, weight in named if name.startswith("encoder.")]
    fast = [weight for name, weight in named if not name.startswith("encoder.")]
    groups: list[dict[str, object]] = [{"params": fast, "factor": 1.0}]
    return [*groups, {"params": slow, "factor": ENCODER_RATE}] if slow else groups
