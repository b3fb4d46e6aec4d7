"""A detector in a folder, as training writes it, with weights as they are drawn."""

import json
from pathlib import Path
from typing import Any

from farm.config import DetectorConfig
from farm.detector.checkpoint import to_bytes
from farm.detector.model import build_detector

SIZE = 64


def make_detector(folder: Path, kind: str = "fpn", threshold: float | None = 0.25) -> Path:
    """Writes one of ``kind`` for photographs of ``SIZE`` px; returns ``folder``."""
    config = DetectorConfig(kind=kind, width=8)
    card: dict[str, Any] = {"detector": config.model_dump(), "size_px": SIZE, "stage": "stage2", "sha256": "abc"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(to_bytes(build_detector(config, seed=3)))
    (folder / "card.json").write_text(json.dumps(card | {"threshold": threshold}))
    return folder
