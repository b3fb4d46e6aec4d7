"""Arms of an ablation held against each other on the test photographs, with intervals over groups of photographs.

The interval of a gain is that of the mean over seeds: each resampled test set is the same for all arms and seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.ablate import ARMS, arm_settings, place, train_arm
from farm.config import Run
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import TestPhoto
from farm.errors import ConfigError
from farm.evaluate import Detect, Evaluator, Scored, measure
from farm.metrics import PixelScores, auroc, average_precision, metric_draws, middle, pixel_draws
from farm.run_folder import RunFolder
from farm.source_index import read_index

NORMALS = "normals"  # PatchCore: no defect is learned, neither real nor made
BASE, WHOLE, HALF = "rules", "filtered", "half"
SHOWN = {"image_auroc": "image AUROC", "image_ap": "image AP", "pixel_ap": "pixel AP", "aupro": "AUPRO"}
DRAWS = 1000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One arm: each metric's mean over seeds, its extremes, and the gain over ``BASE`` with its 95 % interval."""

    arm: str
    values: dict[str, tuple[float, float, float]]  # metric → mean, lowest, highest over seeds
    gains: dict[str, tuple[float, float, float]]  # metric → gain, low, high; empty for ``BASE``


def score_arm(run: Run, folder: RunFolder, arm: str, seed: int) -> dict[str, Any]:
    """``metrics`` of the arm's detector, and in ``draws`` each metric on each resampled test set; kept beside it."""
    name = f"{place(run, folder, BASE if arm == NORMALS else arm, seed)}/scores-{arm}.json"
    if folder.store.exists(name):
        return dict(folder.read_json(name))
    photos = read_index(folder).test
    evaluator = Evaluator(_detect(run, folder, arm, seed), run.size_px, run.compute.batch_size, run.data.max_megapixels)
    scored = evaluator.evaluate(photos)
    metrics = measure(photos, scored.scores, scored.maps, run.data.max_megapixels)
    found = {"metrics": metrics, "draws": _draws(run, photos, scored)}
    folder.write_json(name, found)
    return found


def _detect(run: Run, folder: RunFolder, arm: str, seed: int) -> Detect:
    if arm == NORMALS:
        from farm.one_class import Encoder, PatchCore

        normals = [read_photo(photo, run.size_px, run.data.max_megapixels) for photo in read_index(folder).train]
        return PatchCore(Encoder(batch_size=run.compute.batch_size), seed=seed).fit(np.stack(normals)).maps
    from farm.detector.checkpoint import from_bytes
    from farm.detector.model import build_detector
    from farm.detector.predict import Detector

    settings = arm_settings(run, arm, seed)
    model = build_detector(settings.train.detector, pretrained=False)
    from_bytes(model, train_arm(run, folder, arm, seed), f"arm {arm}")
    return Detector(model, run.compute.batch_size, run.compute.device)


def _draws(run: Run, photos: Sequence[TestPhoto], scored: Scored) -> dict[str, list[float | None]]:
    """Each metric on each resampled test set; None where that has one class only."""
    labels = np.array([not photo.is_good for photo in photos])
    groups = np.array([photo.group for photo in photos])
    found: dict[str, Any] = {
        "image_auroc": metric_draws(auroc, scored.scores, labels, groups, DRAWS),
        "image_ap": metric_draws(average_precision, scored.scores, labels, groups, DRAWS),
    }
    pixels = PixelScores()
    for photo, values in zip(photos, scored.maps, strict=True):
        if photo.is_good or photo.mask_path:
            pixels.add(values, read_mask(photo, run.size_px, run.data.max_megapixels), photo.group)
    if any(photo.mask_path for photo in photos):
        found |= pixel_draws(pixels, draws=DRAWS)
    return {name: [None if np.isnan(one) else round(float(one), 6) for one in found[name]] for name in found}


def table(found: Mapping[tuple[str, int], Mapping[str, Any]], arms: Sequence[str], seeds: Sequence[int]) -> list[Line]:
    """A line for each of ``arms``, from what ``score_arm`` found for each arm and seed."""
    lines = []
    for arm in arms:
        values, gains = {}, {}
        for metric in SHOWN:
            if not all(metric in found[arm, seed]["metrics"] for seed in seeds):
                continue
            each = [float(found[arm, seed]["metrics"][metric]) for seed in seeds]
            values[metric] = float(np.mean(each)), min(each), max(each)
            if arm != BASE and BASE in arms:
                gains[metric] = gain(found, BASE, arm, metric, seeds)
        lines.append(Line(arm, values, gains))
    return lines


def gain(
    found: Mapping[tuple[str, int], Mapping[str, Any]], before: str, after: str, metric: str, seeds: Sequence[int]
) -> tuple[float, float, float]:
    """Of the mean over ``seeds``: what ``after`` has more than ``before``, and the middle 95 % of that."""

    def mean(arm: str, part: str) -> Floats:
        return np.mean([np.asarray(found[arm, seed][part][metric], np.float64) for seed in seeds], axis=0)

    low, high = middle(mean(after, "draws") - mean(before, "draws"), DRAWS)
    return float(mean(after, "metrics") - mean(before, "metrics")), low, high


def advice(found: Mapping[tuple[str, int], Mapping[str, Any]], seeds: Sequence[int]) -> str:
    """Whether more generated images pay, from what the second half of the kept ones added."""
    metric = "pixel_ap" if "pixel_ap" in found[WHOLE, seeds[0]]["metrics"] else "image_ap"
    value, low, high = gain(found, HALF, WHOLE, metric, seeds)
    told = f"the second half of the kept images gained {100 * value:+.1f} points of {SHOWN[metric]} "
    told += f"({100 * low:+.1f} to {100 * high:+.1f})"
    if low > 0:
        return f"{told}: generating more should pay"
    if high < 0:
        return f"{told}: it cost; generate other images, not more of these"
    return f"{told}: no evidence that generating more pays"


def arms_of(folder: RunFolder, without: Sequence[str] = ()) -> list[str]:
    """The arms that the run can have, in the order of the table, but for those ``without``.

    Real defects have no clean source, so a detector that reconstructs cannot learn from them alone. Raises
    ``ConfigError`` for an arm that there is not.
    """
    every = [NORMALS, *ARMS]
    unknown = [arm for arm in without if arm not in every]
    if unknown:
        raise ConfigError(f"there is no arm '{unknown[0]}'; the arms are {', '.join(every)}")
    masks = any(photo.mask_path for photo in read_index(folder).shots)
    few = masks and not folder.run().train.detector.reconstructs
    return [arm for arm in every if arm not in without and (arm != "few_shot" or few)]
