"""Histograms of what the judge looks at, each with the thresholds that it used."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from farm.report.charts import Floats, Threshold, histogram
from farm.report.inputs import KEPT, REFUSED, UNJUDGED, Inputs
from farm.rows import MADE

Limits = tuple[tuple[float | None, str], ...]


@dataclass(frozen=True)
class Gate:
    """A column of ``Inputs.samples``, what its axis is called, and its thresholds; a limit of None was not asked."""

    column: str
    axis: str
    limits: Limits
    log: bool = False  # of a share, 1e-4 ... 1


def gate_charts(inputs: Inputs) -> list[str]:
    """SVG of each gate that has something to show, in the order of the questions."""
    charts = []
    for gate in _gates(inputs):
        groups = _groups(inputs, gate.column)
        if sum(map(len, groups.values())):
            thresholds = [Threshold(float(value), text) for value, text in gate.limits if value is not None]
            name = f"Histogram of the {gate.axis} with its thresholds"
            charts.append(histogram(groups, thresholds, gate.axis, name, log=gate.log))
    return charts


def _gates(inputs: Inputs) -> Iterator[Gate]:
    rules, known = inputs.run.filter, inputs.calibration
    low, high, nearest = known.get("low"), known.get("high"), known.get("neighbours", rules.neighbours)
    yield Gate("score", f"mean cosine to the {nearest} nearest normals", (_below(low, "irrelevant"), _above(high)))
    area = (
        (rules.min_changed_area, f"too little below {rules.min_changed_area:.2%}"),
        (rules.max_changed_area, f"too much above {rules.max_changed_area:.0%}"),
    )
    yield Gate("changed_area", "changed area", area, log=True)
    yield Gate("mean_change", "mean change, of 255", ((rules.max_mean_change, f"above {rules.max_mean_change:g}"),))
    yield Gate("contrast", "mean change of changed pixels, of 255", (_below(rules.min_contrast, "too faint"),))
    grain = known.get("max_grain")
    text = "" if grain is None else f"too noisy above {grain:.3g}"
    yield Gate("grain", "grain of changed pixels, of 255", ((grain, text),))
    yield Gate("ssim_outside", "structural similarity outside the mask", (_below(rules.min_ssim_outside, "changed"),))
    yield Gate("crop_score", "nearness of the defect's crop", (_below(known.get("crop_low"), "implausible"),))
    yield Gate("grid_score", "nearness of the strangest window", (_below(known.get("grid_low"), "strange"),))
    yield Gate("text_margin", "cosine to prompt less normal", (_below(rules.min_text_margin, "off prompt"),))


def _below(value: float | None, word: str) -> tuple[float | None, str]:
    return value, "" if value is None else f"{word} below {value:.3f}"


def _above(value: float | None) -> tuple[float | None, str]:
    return value, "" if value is None else f"like a normal above {value:.3f}"


def _groups(inputs: Inputs, column: str) -> dict[str, Floats]:
    """Finite values of made rows by outcome."""
    values = _values(inputs, column)
    there = (inputs.samples["status"] == MADE) & np.isfinite(values)
    outcomes = (("kept", KEPT), ("refused", REFUSED), ("unjudged", UNJUDGED))
    return {name: values[there & (inputs.samples["outcome"] == outcome)] for name, outcome in outcomes}


def _values(inputs: Inputs, column: str) -> Floats:
    samples = inputs.samples
    if column == "contrast":
        area = samples["changed_area"].astype(np.float64)
        return np.divide(samples["mean_change"], area, out=np.full(len(area), np.nan), where=area > 0)
    return samples[column].astype(np.float64)
