"""A finished detector: photographs in, heat maps and scores out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from farm.config import DetectorConfig
from farm.detector.checkpoint import CARD, WEIGHTS, from_bytes
from farm.detector.model import build_detector
from farm.detector.outputs import read_outputs
from farm.store import Store

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Detect = Callable[[Pixels], tuple[Floats, Floats]]  # uint8 (B, H, W, 3) → maps (B, H, W) and scores (B,)


class Graph(nn.Module):
    """A network with all around it that turns photographs into maps and scores; this is what is exported."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, images_BHW3: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, H, W, 3) sRGB → maps (B, H, W) and scores (B,), float32 in [0, 1], higher = more defective."""
        return read_outputs(self.network(images_BHW3.permute(0, 3, 1, 2).float()))


@dataclass
class Detector:
    """A network in evaluation mode. Every batch is padded to ``batch_size``, so a row's result is its own alone."""

    model: nn.Module
    batch_size: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.model = self.model.to(self.device).eval()
        self._graph = Graph(self.model)

    @classmethod
    def load(cls, folder: str, batch_size: int = 8, device: str = "cpu") -> "Detector":
        """The detector in ``folder`` (path or URL with model.safetensors and card.json)."""
        store = Store(folder)
        card: dict[str, Any] = json.loads(store.read(CARD))
        model = build_detector(DetectorConfig.model_validate(card["detector"]), pretrained=False)
        from_bytes(model, store.read(WEIGHTS), store.url(WEIGHTS))
        return cls(model, batch_size, device)

    def __call__(self, images: Pixels) -> tuple[Floats, Floats]:
        """uint8 (B, H, W, 3) → maps float32 (B, H, W) in [0, 1] and scores float32 (B,), higher = more defective."""
        return in_batches(self._run, images, self.batch_size)

    @torch.inference_mode()
    def _run(self, batch: Pixels) -> tuple[Floats, Floats]:
        maps, scores = self._graph(torch.tensor(batch, device=self.device))
        return maps.cpu().numpy(), scores.cpu().numpy()


def in_batches(detect: Detect, images: Pixels, batch_size: int) -> tuple[Floats, Floats]:
    """``detect`` on batches that are all padded to ``batch_size``: a row does not know its neighbours' number."""
    maps = np.zeros(images.shape[:3], dtype=np.float32)
    scores = np.zeros(len(images), dtype=np.float32)
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        batch = np.zeros((batch_size, *part.shape[1:]), dtype=np.uint8)
        batch[: len(part)] = part
        found = detect(batch)
        maps[start : start + len(part)], scores[start : start + len(part)] = (one[: len(part)] for one in found)
    return maps, scores
