"""A detector held against real photographs: scores, heat maps and metrics, for each defect and overall (card 005).

Only ``TestPhoto`` gets in (decision 10). Metrics that the data does not define (no masks, one class only) are absent
from the result, never zero. Files of ``evaluation/<stage>/``: scores.parquet (one line a photograph), maps/ (8-bit heat
maps of at most ``SHOWN_MAPS`` photographs) and metrics.json, written last.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farm.config import Run
from farm.datasets import read_channels, read_mask, read_photo
from farm.datasets.photo import TestPhoto
from farm.detector.two_stage import Stage
from farm.errors import RunError
from farm.ids import fingerprint
from farm.images import encode_png
from farm.metrics import SPRO_LIMITS, PixelScores, image_metrics, pixel_metrics
from farm.report.choice import choose_photos
from farm.run_folder import RunFolder
from farm.source_index import read_index

VERSION = 3  # raised when the meaning of an evaluation changes
SHOWN_MAPS = 60
WORST_MAPS = 36  # of them for the worst misses, which the report shows first

Floats = npt.NDArray[np.float32]
Detect = Callable[[npt.NDArray[np.uint8]], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Scored:
    """N photographs by their place in the list of test photographs, each with its score and map."""

    places: tuple[int, ...]
    scores: Floats  # (N,)
    maps: Floats  # (N, S, S) in [0, 1]


class Evaluator:
    """Scores test photographs with ``detector``: uint8 (B, S, S, 3) → maps (B, S, S) and scores (B,)."""

    def __init__(self, detector: Detect, size_px: int, batch_size: int = 8, max_megapixels: float = 50.0) -> None:
        self._detector, self._size_px = detector, size_px
        self._batch_size, self._max_megapixels = batch_size, max_megapixels

    def evaluate(self, photos: Sequence[TestPhoto], places: Sequence[int] | None = None) -> Scored:
        """Score the photographs at ``places`` (None = all). Raises ``TypeError`` for any other kind of photograph."""
        chosen = tuple(range(len(photos))) if places is None else tuple(places)
        intruders = {type(photos[place]).__name__ for place in chosen if not isinstance(photos[place], TestPhoto)}
        if intruders:
            raise TypeError(f"an evaluator takes TestPhoto only; found {', '.join(sorted(intruders))}")
        maps = np.zeros((len(chosen), self._size_px, self._size_px), dtype=np.float32)
        scores = np.zeros(len(chosen), dtype=np.float32)
        for start in range(0, len(chosen), self._batch_size):
            part = chosen[start : start + self._batch_size]
            images = np.stack([read_photo(photos[place], self._size_px, self._max_megapixels) for place in part])
            maps[start : start + len(part)], scores[start : start + len(part)] = self._detector(images)
        return Scored(chosen, scores, maps)


def evaluate_detector(run: Run, folder: RunFolder, stage: Stage) -> dict[str, Any]:
    """Score the test photographs with the detector of ``stage`` in this process and write its evaluation."""
    return write_evaluation(run, folder, stage, [score_share(run, folder, stage, 0, 1)])


def score_share(run: Run, folder: RunFolder, stage: Stage, rank: int, world: int) -> Scored:
    """Every ``world``-th test photograph from the ``rank``-th on, scored with the detector of ``stage``."""
    import torch

    from farm.detector.predict import Detector

    torch.set_num_threads(run.compute.threads)
    photos = read_index(folder).test
    size = run.compute.batch_size
    detector = Detector.load(folder.store.url(f"detectors/{stage}"), size, run.compute.device)
    evaluator = Evaluator(detector, run.size_px, size, run.data.max_megapixels)
    return evaluator.evaluate(photos, range(rank, len(photos), world))


def write_evaluation(run: Run, folder: RunFolder, stage: Stage, parts: Sequence[Scored]) -> dict[str, Any]:
    """Put the parts together, write the files of ``evaluation/<stage>/`` and give the metrics.

    Raises ``RuntimeError`` unless every test photograph was scored exactly once.
    """
    photos = read_index(folder).test
    places = np.array([place for part in parts for place in part.places], dtype=np.int64)
    if sorted(places.tolist()) != list(range(len(photos))):
        raise RuntimeError(f"{len(photos)} test photographs, but {len(places)} scores of {len(set(places))} of them")
    order = np.argsort(places)
    scores = np.concatenate([part.scores for part in parts])[order]
    maps = np.concatenate([part.maps for part in parts])[order]
    metrics = measure(photos, scores, maps, run.data.max_megapixels)
    folder.write_table(f"evaluation/{stage}/scores.parquet", _score_table(photos, scores))
    worst = choose_photos(scores, np.array([photo.defect is not None for photo in photos]), WORST_MAPS)
    for place in sorted({*shown_places(photos, SHOWN_MAPS - WORST_MAPS), *worst}):
        heat = np.round(maps[place] * 255).astype(np.uint8)
        folder.store.write(f"evaluation/{stage}/maps/{photos[place].photo_id}.png", encode_png(heat))
    print_ = evaluation_fingerprint(run, folder, stage)
    folder.write_json(f"evaluation/{stage}/metrics.json", {"fingerprint": print_, "metrics": metrics})
    return metrics


def read_evaluation(run: Run, folder: RunFolder, stage: Stage) -> dict[str, Any] | None:
    """The metrics of a finished evaluation of the present detector; None where there is none."""
    name = f"evaluation/{stage}/metrics.json"
    if not folder.store.exists(name):
        return None
    found = folder.read_json(name)
    return dict(found["metrics"]) if found["fingerprint"] == evaluation_fingerprint(run, folder, stage) else None


def evaluation_fingerprint(run: Run, folder: RunFolder, stage: Stage) -> str:
    """The name of all that decides an evaluation. Raises ``RunError`` where the stage is not trained."""
    name = f"detectors/{stage}/card.json"
    if not folder.store.exists(name):
        raise RunError(f"{folder.store.root}: {stage} has no detector yet; run 'farm train' first")
    weights = folder.read_json(name)["sha256"]
    return fingerprint([VERSION, weights, run.size_px, read_index(folder).fingerprint])


def measure(photos: Sequence[TestPhoto], scores: Floats, maps: Floats, max_megapixels: float) -> dict[str, Any]:
    """Metrics of ``farm.metrics`` over all photographs, and in ``by_defect`` of each defect against the good ones.

    Pixel metrics take the good photographs and those defective ones that have a mask; ``n_masks`` says how many have,
    as ``n_good`` and ``n_defect`` count the photographs. Where masks are channels (MVTec LOCO), ``auspro_<limit>`` are
    at the photographs' own resolution, and ``image_auroc_mean`` is the mean over the defects.
    """
    size_px = maps.shape[-1]
    masks = {
        place: read_mask(photo, size_px, max_megapixels)
        for place, photo in enumerate(photos)
        if photo.is_good or photo.mask_path
    }
    good = [place for place, photo in enumerate(photos) if photo.is_good]
    classes = {
        str(defect): [place for place, photo in enumerate(photos) if photo.defect == defect]
        for defect in dict.fromkeys(photo.defect for photo in photos if photo.defect)
    }

    def group(bad: Sequence[int]) -> dict[str, Any]:
        places = [*good, *bad]
        labels = np.array([place in set(bad) for place in places])
        masked = [place for place in places if place in masks]
        with_masks = len(masked) - len(good)
        found: dict[str, float] = image_metrics(scores[places], labels)
        if with_masks:
            found |= pixel_metrics(maps[masked], np.stack([masks[place] for place in masked]))
        if any(photos[place].channels for place in bad):
            found |= _saturated([(photos[place], maps[place]) for place in masked], max_megapixels)
        counts = {"n_good": len(good), "n_defect": len(bad), "n_masks": with_masks}
        return {**counts, **{name: value for name, value in found.items() if not math.isnan(value)}}

    every = [place for bad in classes.values() for place in bad]
    by_defect = {name: group(bad) for name, bad in sorted(classes.items())}
    found = {**group(every), "by_defect": by_defect}
    if any(photo.channels for photo in photos) and good:
        found["image_auroc_mean"] = float(np.mean([one["image_auroc"] for one in by_defect.values()]))
    return found


def _saturated(pairs: Sequence[tuple[TestPhoto, Floats]], max_megapixels: float) -> dict[str, float]:
    """AUsPRO up to each of its limits, of photographs and their maps, which are scaled up to the masks' resolution."""
    scores = PixelScores()
    for photo, values in pairs:
        found = read_channels(photo, max_megapixels)
        height, width = found.masks.shape[1:]
        large = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
        scores.add_channels(large, found.masks, found.saturations.tolist())
    counts = scores.counts()
    return {f"auspro_{limit:g}": counts.aupro(limit) for limit in SPRO_LIMITS}


def shown_places(photos: Sequence[TestPhoto], limit: int = SHOWN_MAPS) -> list[int]:
    """At most ``limit`` places, shared evenly by the classes (good ones are a class) and evenly spaced in each."""
    names = sorted({photo.defect or "" for photo in photos})
    chosen: list[int] = []
    for rank, name in enumerate(names):
        members = [place for place, photo in enumerate(photos) if (photo.defect or "") == name]
        share = min(len(members), (limit - len(chosen)) // (len(names) - rank))
        chosen += [members[round(index)] for index in np.linspace(0, len(members) - 1, share)]
    return sorted(chosen)


def _score_table(photos: Sequence[TestPhoto], scores: Floats) -> pa.Table:
    return pa.table(
        {
            "photo_id": pa.array([photo.photo_id for photo in photos]),
            "relative": pa.array([photo.relative for photo in photos]),
            "path": pa.array([photo.path for photo in photos]),
            "defect": pa.array([photo.defect or "" for photo in photos]),
            "group": pa.array([photo.group for photo in photos]),
            "label": pa.array([int(not photo.is_good) for photo in photos], type=pa.int8()),
            "score": pa.array(scores, type=pa.float32()),
        }
    )
