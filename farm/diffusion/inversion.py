"""A photograph → its DDIM trajectory, made once for each (source, model, schedule, prompt) and stored.

No mask and no seed enter, so every defect on a source reuses it. fp16 keeps 11 bits: what is stored is within 2^-11
of each value, and sampling that replays the background overwrites it at every level, so that this does not add up.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from farm.diffusion.backbone import Backbone
from farm.diffusion.ddim import invert_within
from farm.diffusion.latents import Pixels
from farm.diffusion.schedule import INVERSION_TOLERANCE, Level


class Inverter:
    """Inverts photographs under their own prompt, without guidance, in batches padded to ``batch_size``.

    ``spent`` counts the network evaluations of all photographs so far; S (1 + ``fixed_point``) each at most.
    """

    def __init__(self, backbone: Backbone, steps: int, fixed_point: int, batch_size: int) -> None:
        self.backbone, self.fixed_point, self.batch_size = backbone, fixed_point, batch_size
        self.levels = backbone.schedule.levels(steps)
        self.spent = 0

    def __call__(self, source: Pixels, normal_prompt: Sequence[str]) -> npt.NDArray[np.float16]:
        """uint8 (B, H, W, 3) and B texts -> (B, S+1, C, h, w), index 0 = z_0. A row may come out not finite."""
        made = [
            self._padded(source[start : start + self.batch_size], list(normal_prompt[start : start + self.batch_size]))
            for start in range(0, len(source), self.batch_size)
        ]
        return np.concatenate(made)

    def _padded(self, source: Pixels, prompts: list[str]) -> npt.NDArray[np.float16]:
        count = len(source)
        rows = np.minimum(np.arange(self.batch_size), count - 1)
        text = self.backbone.embed_prompts([prompts[row] for row in rows])

        def predict(z: Tensor, level: Level) -> Tensor:
            return self.backbone.predict(z, level.time, text)

        z0 = self.backbone.encode(source[rows])
        trajectory, evaluations = invert_within(predict, z0, self.levels, self.fixed_point, INVERSION_TOLERANCE)
        self.spent += int(evaluations[:count].sum())
        stored: npt.NDArray[np.float16] = trajectory[:count].to(torch.float16).cpu().numpy()
        return stored
