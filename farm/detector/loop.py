"""The optimiser, its schedule, and one training step over any iterable of batches.

A step's loss is a mean over rows, so a batch may be learned in equal parts (``StageConfig.accumulate``), and the parts'
gradients average to the whole's up to rounding; a network with BatchNorm sees each part's rows alone.

AdamW; the learning rate falls to a fifth at 80 % and again at 90 % of the steps (card 000, section 4) and is a pure
function of the step, so nothing but the step count and AdamW's moments has to be kept for an exact resume.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

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
    """One model in training; ``forward`` is the model, or the model wrapped for data parallelism.

    With ``dtype`` bfloat16 the forward pass is autocast; weights, losses and moments stay float32, and so does float16,
    which would need its gradients scaled. ``compiled`` hands the forward pass to ``torch.compile``.
    """

    def __init__(
        self,
        model: nn.Module,
        config: StageConfig,
        forward: Forward | None = None,
        dtype: str = "float32",
        compiled: bool = False,
    ) -> None:
        self.model = model
        self.config = config
        self.step = 0  # steps done
        self.forward: Forward = forward or model
        if compiled:
            self.forward = torch.compile(self.forward)
        self._bfloat16 = dtype == "bfloat16"
        self.optimiser = torch.optim.AdamW(_groups(model), lr=config.lr, weight_decay=WEIGHT_DECAY)
        model.train()

    def learn(self, image: Pixels, label: Pixels, source: Pixels | None = None) -> Tensor:
        """One step on uint8 (B, H, W, 3) and uint8 (B, H, W) in {0, 1}; gives the batch's loss, detached.

        ``source`` (B, H, W, 3), the images without their defects, is for networks that reconstruct.
        """
        rate = learning_rate(self.config.lr, self.step, self.config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimiser.zero_grad(set_to_none=True)
        parts = _parts(len(image), self.config.accumulate)
        losses = []
        for rows in parts:
            last = rows.stop == len(image)
            with nullcontext() if last else self._unshared():
                loss = self._loss(image[rows], label[rows], None if source is None else source[rows]) / len(parts)
                loss.backward()
            losses.append(loss.detach())
        self.optimiser.step()
        self.step += 1
        return torch.stack(losses).sum()

    def _loss(self, image: Pixels, label: Pixels, source: Pixels | None) -> Tensor:
        device = next(self.model.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bfloat16):
            found = self.forward(to_pixels(image, device))
        wanted = None if source is None else to_pixels(source, device)
        return detector_loss(found, torch.tensor(label, device=device), wanted)

    def _unshared(self) -> AbstractContextManager[None]:
        """Gradients stay on this worker until the last part: data parallelism sends them once a step."""
        no_sync = getattr(self.forward, "no_sync", nullcontext)
        return no_sync()

    def run(self, batches: Iterable[Batch]) -> list[float]:
        """``learn`` on each batch in turn; gives the losses."""
        return [float(self.learn(*batch)) for batch in batches]


def _parts(rows: int, count: int) -> list[slice]:
    """``rows`` rows in ``count`` equal parts."""
    if rows % count:
        raise ValueError(f"a batch of {rows} rows cannot be learned in {count} equal parts (accumulate)")
    size = rows // count
    return [slice(start, start + size) for start in range(0, rows, size)]


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
