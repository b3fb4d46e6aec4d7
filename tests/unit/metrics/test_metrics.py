"""Metrics against hand-made fixtures (card 005), brute force over small arrays with ties, scikit-learn and torch."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from farm import metrics


def hand_fixture():
    """Two 8x8 regions: the first found whole at 0.9, two thirds of the second at 0.6, false alarms at 0.7 and 0.5."""
    maps, masks = np.zeros((1, 8, 8)), np.zeros((1, 8, 8), np.uint8)
    masks[0, 1:3, 1:3] = masks[0, 5:8, 5:8] = 1
    maps[0, 1:3, 1:3], maps[0, 5:8, 5:7], maps[0, 0, 7], maps[0, 4, 0] = 0.9, 0.6, 0.7, 0.5
    return maps, masks


def with_ties(seed, count=3, size=9):
    """Maps of few distinct scores and masks with several regions, some touching by a corner."""
    random = np.random.default_rng(seed)
    masks = (random.random((count, size, size)) < 0.18).astype(np.uint8)
    maps = random.integers(0, 6, masks.shape) / 5 + 0.4 * masks * random.integers(0, 2, masks.shape)
    return np.round(maps, 3), masks


def regions_of(mask):
    """8-connected regions by flood fill, as lists of (row, column)."""
    left, found = {tuple(place) for place in np.argwhere(mask)}, []
    while left:
        grow, region = [left.pop()], []
        while grow:
            row, column = grow.pop()
            region.append((row, column))
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            grow += near
        found.append(region)
    return found


def all_regions(maps, masks):
    return [
        [one[place] for place in region] for one, mask in zip(maps, masks, strict=True) for region in regions_of(mask)
    ]


def brute_aupro(maps, masks, limit):
    scores, good = all_regions(maps, masks), maps[masks == 0]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel()), reverse=True):
        overlap = np.mean([np.mean([score >= threshold for score in region]) for region in scores])
        points.append((float(np.mean(good >= threshold)), float(overlap)))
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        if left >= limit or right == left:
            continue
        end = min(right, limit)
        area += (end - left) * (low + low + (high - low) * (end - left) / (right - left)) / 2
    return area / limit


def brute_iap(maps, masks):
    levels = sorted(sorted(region, reverse=True)[len(region) // 2] for region in all_regions(maps, masks))
    precision, best = [], 0.0
    for level in levels:
        found = maps >= level
        best = max(best, (found & (masks > 0)).sum() / found.sum())
        precision.append(best)
    recalls = [1 - index / len(levels) for index in range(len(levels))]
    smallest = min(recall for recall in recalls if recall >= 0.9 - 1e-12)
    return np.mean(precision), precision[recalls.index(smallest)]


def test_hand_fixture_of_card_005():
    maps, masks = hand_fixture()
    assert metrics.iap(maps, masks) == pytest.approx((0.954545, 0.909091), abs=5e-7)
    assert metrics.aupro(maps, masks) == pytest.approx(0.831209, abs=5e-7)
    assert metrics.average_precision(maps, masks) == pytest.approx(0.774148, abs=5e-7)
    assert metrics.auroc(maps, masks) == pytest.approx(0.871041, abs=5e-7)


def test_all_zero_map_scores_prevalence_and_only_the_published_mistake_scores_one():
    maps, masks = hand_fixture()
    assert metrics.iap(0 * maps, masks) == (0.203125, 0.203125)
    assert metrics.iap(0 * maps, masks, destseg_compat=True) == (1.0, 1.0)
    assert metrics.iap(maps + 0.1, masks, destseg_compat=True) == metrics.iap(maps + 0.1, masks)


def test_constant_and_perfect_maps():
    _, masks = hand_fixture()
    constant = np.full(masks.shape, 0.4)
    assert metrics.aupro(constant, masks) == pytest.approx(0.15, abs=1e-15)
    assert metrics.auroc(constant, masks) == 0.5
    perfect = masks.astype(np.float32)
    assert set(metrics.pixel_metrics(perfect, masks).values()) == {1.0}
    assert metrics.iap(perfect, masks) == (1.0, 1.0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_equals_brute_force(seed, limit):
    maps, masks = with_ties(seed)
    assert metrics.aupro(maps, masks, limit) == pytest.approx(brute_aupro(maps, masks, limit), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_iap_equals_brute_force(seed):
    maps, masks = with_ties(seed, count=4)
    assert metrics.iap(maps, masks) == pytest.approx(brute_iap(maps, masks), abs=1e-12)


@pytest.mark.parametrize("regions", [9, 10, 11, 30])
def test_iap90_takes_the_smallest_recall_of_at_least_90_percent(regions):
    masks = np.zeros((1, 1, 4 * regions), np.uint8)
    masks[0, 0, ::4] = 1
    maps = np.zeros(masks.shape)
    maps[0, 0, ::4] = np.arange(1, regions + 1)
    maps[0, 0, 2::4] = np.arange(1, regions + 1) - 0.5
    assert metrics.iap(maps, masks) == pytest.approx(brute_iap(maps, masks), abs=1e-12)


def test_regions_touching_by_a_corner_are_one_and_never_join_across_photographs():
    corner = np.zeros((2, 4, 4), np.uint8)
    corner[0, 0, 0] = corner[0, 1, 1] = corner[1, 1, 1] = 1
    maps = np.zeros(corner.shape)
    maps[0, 0, 0] = maps[1, 1, 1] = 1.0
    assert metrics.aupro(maps, corner) == pytest.approx(brute_aupro(maps, corner, 0.3))
    reached = (0.5 + 1.0) / 2  # half of the first region, all of the second, without a false alarm
    assert metrics.aupro(maps, corner, 1e-9) == pytest.approx(reached)


@pytest.mark.parametrize("seed", range(6))
def test_rankings_equal_scikit_learn(seed):
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    maps, masks = with_ties(seed)
    scores, labels = maps.ravel(), masks.ravel()
    precision, recall, _ = precision_recall_curve(labels, scores)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300))
    assert metrics.auroc(maps, masks) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.average_precision(maps, masks) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert metrics.f1_max(maps, masks) == pytest.approx(best, abs=1e-12)
    assert metrics.image_metrics(scores, labels) == {
        "image_auroc": metrics.auroc(scores, labels),
        "image_ap": metrics.average_precision(scores, labels),
        "image_f1": metrics.f1_max(scores, labels),
        "image_far_at_full_recall": metrics.far_at_full_recall(scores, labels),
        "image_recall_at_far_1pct": metrics.recall_at_far(scores, labels, 0.01),
    }


def test_curves_integrate_to_the_metrics():
    maps, masks = with_ties(3)
    fpr, tpr = metrics.roc_curve(maps, masks)
    recall, precision = metrics.precision_recall_curve(maps, masks)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1], recall[-1]) == (0, 0, 1, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auroc(maps, masks))
    assert (np.diff(recall, prepend=0) * precision).sum() == pytest.approx(metrics.average_precision(maps, masks))


@pytest.mark.parametrize("labels", [np.zeros(5), np.ones(5), np.zeros(0)])
def test_one_class_or_nothing_is_nan(labels):
    scores = np.arange(labels.size) / 10
    assert all(math.isnan(value) for value in metrics.image_metrics(scores, labels).values())
    assert metrics.roc_curve(scores, labels)[0].size == metrics.precision_recall_curve(scores, labels)[0].size == 0


def test_maps_without_region_without_good_pixel_or_with_nan_are_nan():
    maps, masks = hand_fixture()
    for undefined in (0 * masks, masks[:0]):
        assert math.isnan(metrics.aupro(maps[: len(undefined)], undefined))
        assert all(math.isnan(value) for value in metrics.iap(maps[: len(undefined)], undefined))
    assert math.isnan(metrics.aupro(maps, masks | 1))
    broken = np.where(maps == 0.7, np.nan, maps)
    assert all(math.isnan(value) for value in metrics.pixel_metrics(broken, masks).values())
    assert all(math.isnan(value) for value in metrics.iap(broken, masks))


def test_infinite_scores_are_ordinary_thresholds():
    assert metrics.auroc(np.array([np.inf, np.inf, 0, -np.inf]), np.array([1, 0, 1, 0])) == pytest.approx(0.625)


def test_wrong_shapes_and_limits_are_named():
    maps, masks = hand_fixture()
    with pytest.raises(ValueError, match=r"scores have shape \(1, 8, 8\) but labels \(8, 8\)"):
        metrics.auroc(maps, masks[0])
    with pytest.raises(ValueError, match=r"both must be \(N, H, W\)"):
        metrics.aupro(maps[0], masks[0])
    with pytest.raises(ValueError, match="limit is 0"):
        metrics.aupro(maps, masks, limit=0)


@pytest.mark.parametrize("size", [(5, 7), (21, 21), (48, 33)])
def test_image_score_equals_torch_average_pooling(size):
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(0).random((3, *size)) ** 8
    pool = torch.nn.AvgPool2d(21, 1, 10, count_include_pad=True)
    expected = pool(torch.from_numpy(maps)[:, None]).amax((1, 2, 3)).numpy()
    np.testing.assert_allclose(metrics.image_score(maps), expected, rtol=0, atol=1e-13)
    assert metrics.image_score(maps[1]) == metrics.image_score(maps)[1]


def test_precision_of_the_input_does_not_matter_where_it_holds_the_scores():
    maps, masks = hand_fixture()
    eighths = np.round(maps * 8) / 8
    wanted = metrics.pixel_metrics(eighths, masks)
    for dtype in (np.float16, np.float32):
        assert metrics.pixel_metrics(eighths.astype(dtype), masks) == wanted
        assert metrics.iap(eighths.astype(dtype), masks) == metrics.iap(eighths, masks)
    assert metrics.pixel_metrics((eighths * 8).astype(np.uint8), masks.astype(bool)) == wanted


scored = st.integers(2, 40).flatmap(
    lambda size: st.tuples(
        hnp.arrays(np.int64, size, elements=st.integers(-20, 20)),
        hnp.arrays(np.uint8, size, elements=st.integers(0, 1)),
    )
)


@settings(max_examples=60, deadline=None)
@given(scored)
def test_rising_transform_and_order_of_photographs_change_nothing(pair):
    scores, labels = pair
    order = np.random.default_rng(len(scores)).permutation(len(scores))
    for metric in (metrics.auroc, metrics.average_precision, metrics.f1_max):
        value = metric(scores, labels)
        np.testing.assert_equal(metric(np.exp(scores / 4), labels), value)
        np.testing.assert_equal(metric(scores[order], labels[order]), value)
    np.testing.assert_allclose(metrics.auroc(-scores, labels), 1 - metrics.auroc(scores, labels), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_map_metrics_ignore_rising_transforms_and_stay_between_0_and_1(seed, limit):
    maps, masks = with_ties(seed, count=2, size=6)
    moved = np.arctan(3 * maps) - 7
    value = metrics.aupro(maps, masks, limit)
    np.testing.assert_equal(metrics.aupro(moved, masks, limit), value)
    np.testing.assert_equal(metrics.iap(moved, masks), metrics.iap(maps, masks))
    assert math.isnan(value) or 0 <= value <= 1


def gain(before, after, labels, groups):
    return metrics.gain_interval(metrics.auroc, before, after, labels, groups, draws=400)


def test_gain_interval_holds_the_gain_and_widens_when_photographs_share_a_part():
    random = np.random.default_rng(5)
    labels = np.tile([0, 1], 60)
    before, after = labels + random.normal(0, 1.5, 120), labels + random.normal(0, 0.7, 120)
    low, high = gain(before, after, labels, np.arange(120))
    assert low < metrics.auroc(after, labels) - metrics.auroc(before, labels) < high
    assert (low, high) == gain(before, after, labels, np.arange(120))
    assert gain(before, before, labels, np.arange(120)) == (0.0, 0.0)
    repeated = np.repeat(np.arange(120), 4)
    alone = gain(before[repeated], after[repeated], labels[repeated], np.arange(480))
    together = gain(before[repeated], after[repeated], labels[repeated], repeated)
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


def test_gain_interval_of_one_class_or_nothing_is_nan():
    assert all(math.isnan(end) for end in gain(np.arange(4.0), np.arange(4.0), np.zeros(4), np.arange(4)))
    assert all(math.isnan(end) for end in gain(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0)))
