"""Intervals hold the truth as often as they say, groups count, and resampled pixels are what doing it anew gives."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from farm import metrics
from farm.metrics import group_counts
from farm.metrics.group_counts import GroupCounts

APART = 1.5  # standard deviations between good and defective in the toy


def toy(random, parts=60, photographs=4, shared=0.8):
    """Scores, labels and groups of parts that were photographed several times; ``shared`` of the variance is theirs."""
    labels = np.repeat(np.arange(parts) % 2, photographs)
    groups = np.repeat(np.arange(parts), photographs)
    of_part = random.normal(0, math.sqrt(shared), parts)[groups]
    return APART * labels + of_part + random.normal(0, math.sqrt(1 - shared), labels.size), labels, groups


def coverage(groups_of, repetitions=200):
    truth, held = NormalDist().cdf(APART / math.sqrt(2)), 0
    for repetition in range(repetitions):
        scores, labels, groups = toy(np.random.default_rng(repetition))
        low, high = metrics.metric_interval(metrics.auroc, scores, labels, groups_of(groups), draws=100)
        held += low <= truth <= high
    return held / repetitions


def test_intervals_over_groups_hold_the_truth_and_those_over_photographs_do_not():
    """A pair of one good and one defective photograph: AUROC is P(N(APART, 2) > 0)."""
    assert 0.9 <= coverage(lambda groups: groups) <= 0.99
    assert coverage(lambda groups: np.arange(groups.size), repetitions=60) < 0.85


def test_the_interval_of_a_metric_holds_it_and_is_the_same_again():
    scores, labels, groups = toy(np.random.default_rng(3))
    low, high = metrics.metric_interval(metrics.average_precision, scores, labels, groups)
    assert low < metrics.average_precision(scores, labels) < high
    assert (low, high) == metrics.metric_interval(metrics.average_precision, scores, labels, groups)
    assert (low, high) != metrics.metric_interval(metrics.average_precision, scores, labels, groups, seed=1)


def test_a_perfect_ranking_has_no_width_and_one_class_no_interval():
    labels, groups = np.tile([0, 1], 10), np.arange(20)
    assert metrics.metric_interval(metrics.auroc, labels * 1.0, labels, groups) == (1, 1)
    assert all(math.isnan(end) for end in metrics.metric_interval(metrics.auroc, labels * 1.0, 0 * labels, groups))
    assert all(math.isnan(end) for end in metrics.metric_interval(metrics.auroc, *np.zeros((3, 0))))


# --------------------------------------------------------------------------------------------------------- pixels


def photographs(seed, count=12, size=24, levels=0, skill=0.5):
    """Maps with discs where the defects are, in groups of two or three; ``levels`` = 0 gives no ties."""
    random = np.random.default_rng(seed)
    made, (rows, columns) = [], np.mgrid[:size, :size]
    for number in range(count):
        mask = np.zeros((size, size), bool)
        for _ in range(random.integers(1, 4) if number % 4 else 0):
            row, column = random.integers(0, size, 2)
            mask |= (rows - row) ** 2 + (columns - column) ** 2 <= random.integers(2, size // 4) ** 2
        scores = random.random((size, size)) + skill * mask * random.random() + 0.2 * random.random()
        if levels:
            scores = np.round(scores * levels) / levels
        made.append((scores.astype(np.float32), mask, f"part {number * 2 // 5}"))
    return made


def held(photos):
    scores = metrics.PixelScores()
    for one, mask, group in photos:
        scores.add(one, mask, group)
    return scores


def anew(photos, times):
    """The metrics of the test set that takes group g ``times[g]`` times, without any shortcut."""
    names = list(dict.fromkeys(group for *_, group in photos))
    chosen = [photo for photo in photos for _ in range(int(times[names.index(photo[2])]))]
    return held(chosen).counts().metrics()


def draws(groups, count, seed):
    random = np.random.default_rng(seed)
    chosen = random.integers(0, groups, (count, groups))
    return np.array([np.bincount(drawn, minlength=groups) for drawn in chosen], float)


@pytest.mark.parametrize("seed", range(4))
def test_draws_are_exact_where_scores_of_defects_are_few(seed):
    photos = photographs(seed, levels=40)
    counts = GroupCounts.of(held(photos))
    times = draws(5, 12, seed)
    found = counts.metrics(times, 0.3)
    for index, one in enumerate(times):
        expected = anew(photos, one)
        got = {name: value[index] for name, value in found.items()}
        assert got == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_draws_of_many_scores_are_within_1e_4_and_iap_is_exact():
    photos = photographs(1, size=160)
    scores = held(photos)
    assert sum(np.unique(photo.inside).size for photo in scores.photos) > 4 * group_counts.EDGES
    counts, exact = GroupCounts.of(scores), scores.counts().metrics()
    at_home = {name: value[0] for name, value in counts.metrics(np.ones((1, 5)), 0.3).items()}
    times = draws(5, 10, 1)
    found = counts.metrics(times, 0.3)
    for index, one in enumerate(times):
        expected = anew(photos, one)
        for name, value in found.items():
            tolerance = 1e-12 if name.startswith("iap") else 1e-4
            assert value[index] - at_home[name] + exact[name] == pytest.approx(expected[name], abs=tolerance), name


def test_pixel_intervals_hold_the_value_repeat_and_follow_the_groups():
    photos = photographs(2, levels=30)
    exact, found = held(photos).counts().metrics(), metrics.pixel_intervals(held(photos), draws=300)
    assert all(low < exact[name] < high for name, (low, high) in found.items())
    assert found == metrics.pixel_intervals(held(photos), draws=300)
    alone = metrics.pixel_intervals(held([(one, mask, None) for one, mask, _ in photos for _ in range(4)]), draws=300)
    together = metrics.pixel_intervals(held([(*one[:2], str(i)) for i, one in enumerate(photos) for _ in range(4)]))
    assert together["pixel_ap"][1] - together["pixel_ap"][0] > 1.5 * (alone["pixel_ap"][1] - alone["pixel_ap"][0])


def test_the_gain_of_pixels_is_paired():
    poor, good = photographs(4, levels=50), photographs(4, levels=50, skill=0.9)
    gain = metrics.pixel_gain_intervals(held(poor), held(good), draws=300)
    first, second = (held(photos).counts().metrics() for photos in (poor, good))
    assert all(low <= second[name] - first[name] <= high for name, (low, high) in gain.items())
    assert gain["pixel_auroc"][0] > 0
    apart = [metrics.pixel_intervals(held(photos), draws=300)["pixel_auroc"] for photos in (poor, good)]
    assert gain["pixel_auroc"][1] - gain["pixel_auroc"][0] < sum(high - low for low, high in apart)
    assert set(metrics.pixel_gain_intervals(held(poor), held(poor), draws=50).values()) == {(0.0, 0.0)}


def test_the_gain_of_other_photographs_is_refused():
    photos = photographs(0)
    with pytest.raises(ValueError, match=r"before has 12 photographs and after 11, or their groups differ; add"):
        metrics.pixel_gain_intervals(held(photos), held(photos[1:]))


def test_pixels_of_one_class_or_with_nan_have_no_interval():
    good = [(one, 0 * mask, group) for one, mask, group in photographs(0)]
    broken = [(one * np.nan, mask, group) for one, mask, group in photographs(0)]
    for photos in (good, broken, []):
        ends = np.array(list(metrics.pixel_intervals(held(photos), draws=20).values()))
        assert ends.shape == (6, 2)
        assert np.isnan(ends).all()


def test_pixel_intervals_hold_the_truth():
    """Photographs of one part share an offset of all their scores; the truth is that of 5,000 parts."""

    def parts(random, count):
        for part in range(count):
            offset = random.normal(0, 0.7)
            for _ in range(2):
                mask = np.zeros((6, 6), bool)
                mask[1:4, 1:4] = part % 2
                yield np.round(random.normal(0, 1, (6, 6)) + offset + 1.2 * mask, 1), mask, str(part)

    truth = held(parts(np.random.default_rng(999), 5000)).counts().metrics()
    found = [metrics.pixel_intervals(held(parts(np.random.default_rng(seed), 60)), draws=100) for seed in range(120)]
    for name in ("pixel_auroc", "pixel_ap", "aupro"):
        assert 0.9 <= np.mean([one[name][0] <= truth[name] <= one[name][1] for one in found]) <= 0.99, name
