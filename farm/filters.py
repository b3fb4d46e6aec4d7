"""When an image is refused: one function a rule, in the order in which they are asked (card 000 section 5).

Cheap pixel gates come first, then retrieval. What looks at more than one row (``near_duplicate``, ``over_quota``,
``not_selected``) is decided in ``farm.stages.settle``. A value that is not a number is refused by every rule.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from farm.config import FilterConfig
from farm.index import Calibration

NEAR_DUPLICATE = "near_duplicate"
OVER_QUOTA = "over_quota"
NOT_SELECTED = "not_selected"


@dataclass(frozen=True)
class RowFacts:
    """What one made row is judged by; names and units as in ``rows.FACTS`` and ``rows.VERDICT``."""

    kind: str
    objection: str
    mean_change: float
    changed_area: float
    ssim_outside: float
    grain: float
    score: float
    crop_score: float
    grid_score: float
    text_margin: float


Rule = Callable[[RowFacts, FilterConfig, Calibration], bool]


def unchanged(facts: RowFacts, settings: FilterConfig, _: Calibration) -> bool:
    """The image differs too little from its source."""
    return not facts.mean_change >= settings.min_mean_change


def overdone(facts: RowFacts, settings: FilterConfig, _: Calibration) -> bool:
    """The image differs too much from its source."""
    return not facts.mean_change <= settings.max_mean_change


def area_too_small(facts: RowFacts, settings: FilterConfig, _: Calibration) -> bool:
    """Too few pixels changed to be a defect."""
    return not facts.changed_area >= settings.min_changed_area


def area_too_large(facts: RowFacts, settings: FilterConfig, _: Calibration) -> bool:
    """So many pixels changed that it is another picture."""
    return not facts.changed_area <= settings.max_changed_area


def too_faint(facts: RowFacts, settings: FilterConfig, _: Calibration) -> bool:
    """What changed did so by so little that it is compression or rounding, whatever its area."""
    return not facts.mean_change >= settings.min_contrast * facts.changed_area


def background_changed(facts: RowFacts, settings: FilterConfig, _: Calibration) -> bool:
    """The image lost the structure of its source outside the mask."""
    return not facts.ssim_outside >= settings.min_ssim_outside


def too_noisy(facts: RowFacts, _: FilterConfig, calibration: Calibration) -> bool:
    """What changed has more noise than real defects have."""
    return calibration.max_grain is not None and not facts.grain <= calibration.max_grain


def irrelevant(facts: RowFacts, _: FilterConfig, calibration: Calibration) -> bool:
    """The image is far from all normals: the paper's own criterion."""
    return not calibration.low <= facts.score < math.inf


def no_visible_defect(facts: RowFacts, settings: FilterConfig, calibration: Calibration) -> bool:
    """The image is as near to the normals as they are to each other, and hardly a pixel changed."""
    return facts.score > calibration.high and facts.changed_area < settings.tiny_area


def implausible_defect(facts: RowFacts, _: FilterConfig, calibration: Calibration) -> bool:
    """The crop around the defect is far from all crops of normals and from all real defects."""
    return calibration.crop_low is not None and not calibration.crop_low <= facts.crop_score < math.inf


def strange_patch(facts: RowFacts, _: FilterConfig, calibration: Calibration) -> bool:
    """Somewhere beside the defect the image is far from all normals."""
    return calibration.grid_low is not None and facts.grid_score < calibration.grid_low


def off_prompt(facts: RowFacts, settings: FilterConfig, _: Calibration) -> bool:
    """The image is not nearer to its prompt than to the text of a normal, or not by enough."""
    return settings.min_text_margin is not None and not facts.text_margin >= settings.min_text_margin


RULES: tuple[tuple[str, Rule], ...] = (
    ("unchanged", unchanged),
    ("overdone", overdone),
    ("area_too_small", area_too_small),
    ("area_too_large", area_too_large),
    ("too_faint", too_faint),
    ("too_noisy", too_noisy),
    ("background_changed", background_changed),
    ("irrelevant", irrelevant),
    ("no_visible_defect", no_visible_defect),
    ("implausible_defect", implausible_defect),
    ("strange_patch", strange_patch),
    ("off_prompt", off_prompt),
)
NORMAL_RULES = ("irrelevant", "strange_patch")


def first_objection(facts: RowFacts, settings: FilterConfig, calibration: Calibration) -> str:
    """The reason to refuse a made row: the method's own objection, else the first rule that objects, else empty.

    A normal image is asked only whether it is relevant: it is meant to differ from its source and to show no defect.
    """
    if facts.objection:
        return facts.objection
    rules = [(reason, objects) for reason, objects in RULES if facts.kind == "defect" or reason in NORMAL_RULES]
    return next((reason for reason, objects in rules if objects(facts, settings, calibration)), "")
