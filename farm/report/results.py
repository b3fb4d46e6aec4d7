"""Stage 1 against stage 2: metrics, the gain with its interval, curves, and a warning on few photographs."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from farm import metrics
from farm.report.charts import curves
from farm.report.inputs import STAGES, Inputs
from farm.rows import Batch

NAMES = {
    "image_auroc": ("Image AUROC", "chance that a defective photograph outranks a good one"),
    "image_ap": ("Image AP", "average precision over photographs"),
    "image_f1": ("Image F1-max", "best F1 over all thresholds"),
    "image_recall_at_far_1pct": ("Recall at 1 % false alarms", "defective photographs found; ties are alarms"),
    "image_far_at_full_recall": ("False alarms at full recall", "good photographs refused to find every defect"),
    "pixel_auroc": ("Pixel AUROC", "all pixels of all test photographs pooled"),
    "pixel_ap": ("Pixel AP", "average precision over pooled pixels"),
    "pixel_f1": ("Pixel F1-max", "best F1 over all thresholds"),
    "aupro": ("AUPRO", "per-region overlap up to 30 % false positives"),
    "iap": ("IAP", "pixel precision averaged over instance recall"),
    "iap90": ("IAP90", "pixel precision at 90 % instance recall"),
}
LOWER_IS_BETTER = {NAMES["image_far_at_full_recall"][0]}
FEW_PHOTOS = 30


@dataclass(frozen=True)
class Row:
    """One metric or defect: values of stage 1 and 2 as text, the gain, and which way it went.

    ``way`` is up where stage 2 is better, down where it is worse, or flat.
    """

    name: str
    meaning: str
    values: tuple[str, ...]
    gain: str
    way: str


@dataclass(frozen=True)
class Results:
    """What the page says about the detector."""

    stages: tuple[str, ...]
    table: tuple[Row, ...]
    by_defect: tuple[Row, ...]
    good: int
    defective: int
    interval: tuple[float, float]  # of the gain in image AUROC, nan where it cannot be had
    roc: str
    precision_recall: str

    @property
    def between(self) -> str:
        """The interval in words; empty where it cannot be had."""
        low, high = (f"{end:+.3f}".replace("-", "−") for end in self.interval)
        return "" if math.isnan(self.interval[0]) else f"between {low} and {high}"

    @property
    def unsure(self) -> bool:
        """Whether the interval leaves open that there is no gain at all, or none is known."""
        return not (self.interval[0] > 0 or self.interval[1] < 0)

    @property
    def few(self) -> bool:
        """Whether the numbers rest on few photographs of either class."""
        return min(self.good, self.defective) < FEW_PHOTOS

    @property
    def one_photo(self) -> str:
        """By how much one photograph can move image AUROC."""
        return f"{1 / max(1, min(self.good, self.defective)):.3f}"

    @property
    def headline(self) -> tuple[Row, ...]:
        """At most two metrics that stand for all: of photographs, and of pixels where those exist."""
        shown = [row for name in ("Image AUROC", "Pixel AP") for row in self.table if row.name == name]
        return tuple(shown)


def results(inputs: Inputs) -> Results | None:
    """The results of ``inputs``, or None where no stage is evaluated."""
    if not inputs.metrics and not inputs.scores:
        return None
    stages = tuple(stage for stage in STAGES if stage in inputs.metrics or stage in inputs.scores)
    values = [_values(inputs, stage) for stage in stages]
    present = [name for name in NAMES if any(not math.isnan(_float(found.get(name))) for found in values)]
    good, defective = _photo_counts(inputs, values)
    roc, precision_recall = _curves(inputs, stages)
    return Results(
        stages=tuple(STAGES[stage] for stage in stages),
        table=tuple(_row(*NAMES[name], [_float(found.get(name)) for found in values]) for name in present),
        by_defect=_by_defect(values),
        good=good,
        defective=defective,
        interval=_interval(inputs),
        roc=roc,
        precision_recall=precision_recall,
    )


def _values(inputs: Inputs, stage: str) -> dict[str, Any]:
    """metrics.json of a stage; image metrics come from the scores where it does not have them."""
    found = dict(inputs.metrics.get(stage, {}))
    if stage in inputs.scores:
        scores = inputs.scores[stage]
        found = {**metrics.image_metrics(scores["score"], scores["label"]), **found}
    return found


def _photo_counts(inputs: Inputs, values: list[dict[str, Any]]) -> tuple[int, int]:
    if inputs.scores:
        labels = list(inputs.scores.values())[-1]["label"].astype(int)
        return int((labels == 0).sum()), int((labels > 0).sum())
    return int(values[-1].get("n_good") or 0), int(values[-1].get("n_defect") or 0)


def _row(name: str, meaning: str, values: list[float]) -> Row:
    gain = values[-1] - values[0] if len(values) > 1 else math.nan
    if math.isnan(gain):
        return Row(name, meaning, tuple(map(_text, values)), "", "flat")
    better = gain < 0 if name in LOWER_IS_BETTER else gain > 0
    way = "flat" if abs(gain) < 0.0005 else "up" if better else "down"
    sign = "±" if way == "flat" else "+" if gain > 0 else "−"
    return Row(name, meaning, tuple(map(_text, values)), f"{sign}{abs(gain):.3f}", way)


def _by_defect(values: list[dict[str, Any]]) -> tuple[Row, ...]:
    tables = [found.get("by_defect") or {} for found in values]
    names = sorted({name for table in tables for name in table})
    return tuple(
        _row(name, _count_of(name, tables), [_defect_value(table.get(name)) for table in tables]) for name in names
    )


def _defect_value(found: Any) -> float:
    """by_defect holds a number, or a mapping with image_auroc."""
    return _float(found.get("image_auroc")) if isinstance(found, dict) else _float(found)


def _count_of(name: str, tables: list[dict[str, Any]]) -> str:
    for table in reversed(tables):
        found = table.get(name)
        if isinstance(found, dict):
            counts = [found[key] for key in ("n", "n_defect") if key in found]
            return f"{counts[0]} photographs" if counts else ""
    return ""


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _text(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.3f}"


def _interval(inputs: Inputs) -> tuple[float, float]:
    if len(inputs.scores) < 2:
        return math.nan, math.nan
    before, after = _on_common_photos(list(inputs.scores.values()))
    names = [str(name) for name in after["photo_id"]]
    groups = np.array([str(inputs.photos.get(name, {}).get("group") or name) for name in names])
    return metrics.gain_interval(metrics.auroc, before["score"], after["score"], after["label"], groups)


def _on_common_photos(scores: list[Batch]) -> tuple[Batch, Batch]:
    """The same photographs of two stages in the same order (both are sorted by photo id)."""
    before, after = scores
    shared = np.intersect1d(before["photo_id"].astype(str), after["photo_id"].astype(str))
    picked = []
    for batch in (before, after):
        chosen = np.isin(batch["photo_id"].astype(str), shared)
        picked.append({name: values[chosen] for name, values in batch.items()})
    return picked[0], picked[1]


def _curves(inputs: Inputs, stages: tuple[str, ...]) -> tuple[str, str]:
    roc, precision_recall, prevalence = {}, {}, 0.0
    for stage in stages:
        if stage not in inputs.scores:
            continue
        scores, labels = inputs.scores[stage]["score"], inputs.scores[stage]["label"]
        points = metrics.roc_curve(scores, labels)
        if points[0].size:
            roc[stage] = points
            precision_recall[stage] = metrics.precision_recall_curve(scores, labels)
            prevalence = float(np.mean(labels.astype(int) > 0))
    if not roc:
        return "", ""
    names = " and ".join(STAGES[stage].lower() for stage in roc)
    return (
        curves(roc, ("false positive rate", "true positive rate"), f"ROC curve of {names}", False, None),
        curves(precision_recall, ("recall", "precision"), f"Precision-recall curve of {names}", True, prevalence),
    )
