"""A finished detector: photographs in, heat maps and scores out."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from farm.config import DetectorConfig
from farm.detector.checkpoint import CARD, WEIGHTS, from_bytes
from farm.detector.loop import to_pixels
from farm.detector.model import build_detector
from farm.detector.outputs import read_outputs
from farm.store import Store

Floats = npt.NDArray[np.float32]


@dataclass
class Detector:
    """A network in evaluation mode. Every batch is padded to ``batch_size``, so a row's result is its own alone."""

    model: nn.Module
    batch_size: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.model = self.model.to(self.device).eval()

    @classmethod
    def load(cls, folder: str, batch_size: int = 8, device: str = "cpu") -> "Detector":
        """The detector in ``folder`` (path or URL with model.safetensors and card.json)."""
        store = Store(folder)
        card: dict[str, Any] = json.loads(store.read(CARD))
        model = build_detector(DetectorConfig.model_validate(card["detector"]), pretrained=False)
        from_bytes(model, store.read(WEIGHTS), store.url(WEIGHTS))
        return cls(model, batch_size, device)

    def __call__(self, images: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """uint8 (B, H, W, 3) → maps float32 (B, H, W) in [0, 1] and scores float32 (B,), higher = more defective."""
        maps = np.zeros(images.shape[:3], dtype=np.float32)
        scores = np.zeros(len(images), dtype=np.float32)
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            maps[start : start + len(part)], scores[start : start + len(part)] = self._padded(part)
        return maps, scores

    @torch.inference_mode()
    def _padded(self, part: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
        batch = np.zeros((self.batch_size, *part.shape[1:]), dtype=np.uint8)
        batch[: len(part)] = part
        maps, scores = read_outputs(self.model(to_pixels(batch, torch.device(self.device))))
        return maps.cpu().numpy()[: len(part)], scores.cpu().numpy()[: len(part)]
