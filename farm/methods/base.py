"""What a method takes and gives. A method is built once per worker and called on many batches.

Row ``i`` of what it gives depends on row ``i`` of what it takes alone: the same pixels in a batch of 1 or 32. The
caller pads every batch to one fixed size, so that a network sees one shape only (decision 3).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Request:
    """B defects to make. Strings come as tuples of length B."""

    source: Pixels  # (B, H, W, 3) defect-free photographs, sRGB
    mask: Pixels  # (B, H, W) in {0, 1}: where the defect is to appear
    seed: npt.NDArray[np.int64]  # (B,)
    recipe: tuple[str, ...]  # the way inside the method; "" where there is one way only
    prompt: tuple[str, ...]  # text of the defect pass
    normal_prompt: tuple[str, ...]  # text of the background pass
    trajectory: npt.NDArray[np.float16] | None = None  # (B, S+1, C, h, w) inverted latents, where the method asks


@dataclass(frozen=True)
class Made:
    """B results. A row that could not be made has a message in ``error`` and its other values mean nothing."""

    image: Pixels  # (B, H, W, 3)
    label: Pixels  # (B, H, W) in {0, 1}: refined mask, the pixels that really show the defect
    evaluations: npt.NDArray[np.int32]  # (B,) network evaluations spent on the row
    background_error: npt.NDArray[np.float32]  # (B,) mean |image - source| outside the dilated mask before compositing
    objection: tuple[str, ...]  # a reason for refusal that the method itself found, e.g. "no_visible_defect"; or ""
    error: tuple[str, ...]  # "" or what went wrong with this row
    reference: Pixels | None = None  # (B, H, W, 3) what the image is compared with, where that is not the source


class Method(Protocol):
    """One way to make a defect image."""

    @property
    def needs_trajectory(self) -> bool:
        """Whether ``Request.trajectory`` must be given (the source's inversion, made once and stored)."""

    def __call__(self, request: Request) -> Made:
        """Make all B rows; never raises for a bad row, but says so in ``Made.error``."""
