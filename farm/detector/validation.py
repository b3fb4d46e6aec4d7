"""What decides without a real defect which checkpoint is best, and above which score an image is called defective.

Synthetic images only (card 000, section 4): normals that training never saw, rule-based images on them and, in stage 2,
kept generated rows that training never saw (``farm.detector.materials.held_out``). They are drawn as training images
are, a pure function of (train seed, stage, slot), from a seed space of their own. No test photograph gets in.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from farm.config import Run, TrainConfig
from farm.detector.checkpoint import to_bytes
from farm.detector.feed import Feed
from farm.detector.materials import Materials
from farm.detector.predict import Detector
from farm.detector.two_stage import Draws, Kind, Stage
from farm.ids import digest
from farm.metrics import average_precision, rank

IMAGES = 64
SIDE_PX = 256  # maps are thinned to about so many rows and columns before their pixels are ranked
BEST = "best.safetensors"  # the best weights so far, beside those of a checkpoint

_KINDS: dict[Stage, tuple[Kind, ...]] = {
    "stage1": ("normal", "rules"),
    "stage2": ("normal", "rules", "normal", "generated"),
}


@dataclass(frozen=True)
class Measured:
    """A detector on the validation set; NaN and None where the set has not both classes."""

    pixel_ap: float
    threshold: float | None  # an image whose score is at least this is called defective


def validation_draws(train: TrainConfig, stage: Stage, count: int = IMAGES) -> Draws:
    """What the validation set of ``stage`` is made of: every second image is normal."""
    kinds = tuple(_KINDS[stage][slot % len(_KINDS[stage])] for slot in range(count))
    seeds = [int.from_bytes(digest("validate", train.seed, stage, slot)[:8], "little") >> 1 for slot in range(count)]
    return Draws(kinds, np.array(seeds, dtype=np.int64))


def best_threshold(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float | None:
    """The threshold with the largest F1, halfway to the next score below; None unless both classes are there."""
    ranking = rank(scores, labels)
    if not ranking.defined:
        return None
    best = int((2 * ranking.hits / (ranking.hits + ranking.alarms + ranking.positives)).argmax())
    lowest = float(ranking.thresholds[best])
    return (lowest + max((float(score) for score in scores if score < lowest), default=lowest)) / 2


class Validation:
    """The validation set of a stage, made once of ``materials`` that were held out."""

    def __init__(self, run: Run, stage: Stage, materials: Materials) -> None:
        self._images, self._labels, _ = Feed(run, materials)(validation_draws(run.train, stage))
        self._every = max(1, run.size_px // SIDE_PX)
        self._batch_size = run.compute.batch_size

    def __call__(self, model: nn.Module) -> Measured:
        """Measure ``model``, which is in evaluation mode afterwards."""
        detector = Detector(model, self._batch_size, str(next(model.parameters()).device))
        maps, scores, thin = [], [], slice(None, None, self._every)
        for start in range(0, len(self._images), self._batch_size):
            found, score = detector(self._images[start : start + self._batch_size])
            maps.append(found[:, thin, thin])
            scores.append(score)
        defective = self._labels.reshape(len(self._labels), -1).max(axis=1)
        ap = average_precision(np.concatenate(maps), self._labels[:, thin, thin])
        return Measured(ap, best_threshold(np.concatenate(scores), defective))


class Selection:
    """The best weights of a training so far. What it holds travels in the checkpoints, so a resume loses nothing."""

    def __init__(self, validation: Validation) -> None:
        self._validation = validation
        self.seen: list[dict[str, Any]] = []  # of each checkpoint: step, pixel_ap, threshold
        self._weights = b""

    def look(self, step: int, model: nn.Module) -> None:
        """Measure the weights of ``step``; the first of equals stays the best. ``model`` goes on in training mode."""
        measured = self._validation(model)
        model.train()
        ap = None if math.isnan(measured.pixel_ap) else round(measured.pixel_ap, 8)
        self.seen.append({"step": step, "pixel_ap": ap, "threshold": measured.threshold})
        if best_seen(self.seen) is self.seen[-1]:
            self._weights = to_bytes(model)

    def write(self, folder: Path) -> dict[str, Any]:
        """Put the best weights beside a checkpoint's; what its card says of them."""
        (folder / BEST).write_bytes(self._weights)
        return {"weights": BEST, "threshold": best_seen(self.seen)["threshold"], "validation": self.seen}

    def resume(self, folder: Path, card: dict[str, Any]) -> None:
        """Go on from the checkpoint in ``folder`` with this ``card``."""
        self.seen, self._weights = list(card["validation"]), (folder / BEST).read_bytes()


def best_seen(seen: list[dict[str, Any]]) -> dict[str, Any]:
    """The first entry of ``Selection.seen`` with the largest pixel AP; the last where none has one."""
    measured = [one for one in seen if one["pixel_ap"] is not None]
    return max(measured, key=lambda one: one["pixel_ap"]) if measured else seen[-1]
