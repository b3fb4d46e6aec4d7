"""A CLIP whose image tower passes gradients to the pixels, and the cut-outs that it looks at (card 002 section 4.3)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from farm.embedders.openclip import OpenClip

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float32]

SMALLEST = 0.5  # side of a cut-out, as a share of the image's


class Guide:
    """The frozen towers of an open_clip model.

    Images are squashed to the tower's size (bilinear, antialiased) where ``OpenClip`` itself resizes the shorter side
    and crops; for square images that is the same but for the filter.
    """

    def __init__(self, clip: OpenClip) -> None:
        self._clip = clip
        self._model, self._preprocessing = clip.tower
        self._model.requires_grad_(False)
        self.size = self._preprocessing.size
        parameter = next(self._model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

    def embed(self, images: Pixels) -> Vectors:
        """uint8 (B, H, W, 3) -> (B, D) unit vectors, as the embedder gives them."""
        return self._clip(images)

    def read(self, sentences: Sequence[str]) -> Vectors:
        """(T, D) unit vectors of the sentences."""
        return self._clip.texts(sentences)

    def __call__(self, unit_BCHW: Tensor) -> Tensor:
        """Images in [-1, 1] -> (B, D) unit vectors with a gradient; images of the tower's size are not resized."""
        unit_BCHW = resized(unit_BCHW, self.size)
        mean, std = (
            torch.tensor(three, dtype=torch.float32, device=self._device)[:, None, None]
            for three in (self._preprocessing.mean, self._preprocessing.std)
        )
        inputs = ((unit_BCHW.to(self._device) + 1) / 2 - mean) / std
        features: Tensor = self._model.encode_image(inputs.to(self._dtype))  # type: ignore[operator]
        return F.normalize(features.float(), dim=1)


def draw_boxes(rng: np.random.Generator, count: int) -> Boxes:
    """(count, 3): side in [SMALLEST, 1], top and left, as shares of the image; each box lies inside it."""
    side = rng.uniform(SMALLEST, 1, count)
    corner = rng.random((count, 2)) * (1 - side)[:, None]
    return np.concatenate([side[:, None], corner], axis=1).astype(np.float32)


def cut_out(unit_BCHW: Tensor, boxes: Boxes, size: tuple[int, int]) -> Tensor:
    """(B * K, 3, *size): of each image K = len(boxes) / B boxes in turn, bilinear, with a gradient to the image."""
    each = len(boxes) // len(unit_BCHW)
    side, top, left = torch.from_numpy(boxes).to(unit_BCHW).T
    nought = torch.zeros_like(side)
    across = torch.stack([side, nought, 2 * left + side - 1], dim=1)
    down = torch.stack([nought, side, 2 * top + side - 1], dim=1)
    grid = F.affine_grid(torch.stack([across, down], dim=1), [len(boxes), 3, *size], align_corners=False)
    copies = unit_BCHW.repeat_interleave(each, dim=0)
    return F.grid_sample(copies, grid, mode="bilinear", padding_mode="border", align_corners=False)


def resized(unit_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Images squashed to ``size`` (bilinear, antialiased), with a gradient; the same where they have it."""
    if unit_BCHW.shape[-2:] == size:
        return unit_BCHW
    return F.interpolate(unit_BCHW, size, mode="bilinear", antialias=True, align_corners=False)
