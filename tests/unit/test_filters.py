"""Each rule at its threshold, the order of the rules, and what is not a number."""

from dataclasses import replace

import pytest

from farm.config import FilterConfig
from farm.filters import RULES, RowFacts, first_objection
from farm.index import Calibration

SETTINGS = FilterConfig(
    min_mean_change=0.5,
    max_mean_change=60,
    min_changed_area=0.0005,
    max_changed_area=0.35,
    min_contrast=6,
    min_ssim_outside=0.85,
    tiny_area=0.002,
    min_text_margin=0.01,
)
CALIBRATION = Calibration(
    low=0.7,
    high=0.9,
    n=50,
    neighbours=5,
    low_quantile=0.01,
    low_margin=0.1,
    high_quantile=0.99,
    scores=(),
    crop_low=0.6,
    grid_low=0.65,
    max_grain=10,
)
GOOD = RowFacts(
    kind="defect",
    objection="",
    mean_change=2.0,
    changed_area=0.05,
    ssim_outside=0.99,
    grain=4.0,
    score=0.8,
    crop_score=0.75,
    grid_score=0.85,
    text_margin=0.1,
)


def objection(**change):
    return first_objection(replace(GOOD, **change), SETTINGS, CALIBRATION)


def test_a_good_row_passes():
    assert objection() == ""


@pytest.mark.parametrize(
    ("name", "allowed", "refused", "reason"),
    [
        ("mean_change", 0.5, 0.499, "unchanged"),
        ("mean_change", 60.0, 60.1, "overdone"),
        ("changed_area", 0.0005, 0.00049, "area_too_small"),
        ("changed_area", 0.3, 0.351, "area_too_large"),
        ("changed_area", 2.0 / 6, 2.0 / 5.9, "too_faint"),
        ("ssim_outside", 0.85, 0.849, "background_changed"),
        ("grain", 10.0, 10.1, "too_noisy"),
        ("score", 0.7, 0.699, "irrelevant"),
        ("crop_score", 0.6, 0.599, "implausible_defect"),
        ("grid_score", 0.65, 0.649, "strange_patch"),
        ("text_margin", 0.01, 0.009, "off_prompt"),
    ],
)
def test_each_threshold_is_allowed_and_the_next_value_refused(name, allowed, refused, reason):
    assert objection(**{name: allowed}) == ""
    assert objection(**{name: refused}) == reason


@pytest.mark.parametrize(
    ("score", "area", "reason"),
    [(0.91, 0.0019, "no_visible_defect"), (0.90, 0.0019, ""), (0.91, 0.002, ""), (0.91, 0.3, "")],
)
def test_a_defect_is_invisible_only_if_the_image_is_near_and_the_area_tiny(score, area, reason):
    assert objection(score=score, changed_area=area) == reason


@pytest.mark.parametrize(
    "name", ["mean_change", "changed_area", "ssim_outside", "grain", "score", "crop_score", "text_margin"]
)
def test_what_is_not_a_number_is_refused(name):
    assert objection(**{name: float("nan")}) != ""


def test_an_image_whose_windows_all_show_the_defect_has_no_grid_to_object_to():
    assert objection(grid_score=float("nan")) == ""


def test_what_nothing_is_known_of_refuses_nothing():
    unknown = replace(CALIBRATION, crop_low=None, grid_low=None, max_grain=None)
    unseen = replace(GOOD, grain=255.0, crop_score=float("nan"), grid_score=-1.0, text_margin=float("nan"))
    assert first_objection(unseen, replace_margin(None), unknown) == ""
    assert first_objection(unseen, SETTINGS, unknown) == "off_prompt"


def replace_margin(margin):
    return SETTINGS.model_copy(update={"min_text_margin": margin})


def test_the_methods_own_objection_comes_first():
    assert objection(objection="branches_disagree", mean_change=0.0) == "branches_disagree"


def test_cheap_rules_come_before_retrieval():
    awful = {"mean_change": 99.0, "changed_area": 0.9, "ssim_outside": 0.1, "score": 0.1}
    reasons = []
    for name, good in (("mean_change", 2.0), ("changed_area", 0.05), ("ssim_outside", 0.99), ("score", 0.8)):
        reasons.append(objection(**awful))
        awful[name] = good
    assert reasons == ["overdone", "area_too_large", "background_changed", "irrelevant"]
    assert objection(**awful) == ""


def test_a_normal_is_asked_only_whether_it_is_relevant():
    other = {"kind": "normal", "mean_change": 99.0, "changed_area": 0.0, "ssim_outside": 0.1}
    assert objection(**other, score=0.95) == ""
    assert objection(**other, score=0.1) == "irrelevant"
    assert objection(**other, score=0.95, grid_score=0.1) == "strange_patch"
    assert objection(**other, score=0.95, crop_score=0.1, grain=99.0, text_margin=-1.0) == ""
    assert objection(**other, score=0.95, objection="copy") == "copy"


def test_every_rule_is_named_after_its_function():
    assert [reason for reason, _ in RULES] == [rule.__name__ for _, rule in RULES]
