"""What a line signs off on: alarms where nothing is missed, and what is found within an allowance of alarms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm import metrics

ranked = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=2, max_size=40)


def split(pairs):
    return np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])


def operating_points(scores, labels):
    """(recall, false-alarm rate) of every threshold that a line could set, refusing everything included."""
    points = [(0.0, 0.0)]
    for threshold in set(scores.tolist()):
        refused = scores >= threshold
        points.append((refused[labels == 1].mean(), refused[labels == 0].mean()))
    return points


def test_by_hand():
    """Defects at 9, 7, 4; good at 8, 4, 3, 1: the lowest defect ties with a good one."""
    scores, labels = np.array([9, 7, 4, 8, 4, 3, 1]), np.array([1, 1, 1, 0, 0, 0, 0])
    assert metrics.far_at_full_recall(scores, labels) == 2 / 4
    assert metrics.recall_at_far(scores, labels, 0) == 1 / 3
    assert metrics.recall_at_far(scores, labels, 0.25) == 2 / 3
    assert metrics.recall_at_far(scores, labels, 0.49) == 2 / 3
    assert metrics.recall_at_far(scores, labels, 0.5) == 1


def test_ties_count_against_the_detector():
    scores, labels = np.array([5, 5, 5, 0]), np.array([1, 1, 0, 0])
    assert metrics.far_at_full_recall(scores, labels) == 0.5
    assert metrics.recall_at_far(scores, labels, 0.49) == 0
    assert metrics.far_at_full_recall(np.zeros(4), labels) == 1


def test_a_rate_that_divides_the_good_is_reached_in_spite_of_rounding():
    """0.29 * 100 is 28.999999999999996 in floating point; 29 alarms in 100 are allowed all the same."""
    scores, labels = np.arange(101.0), np.zeros(101, int)
    labels[101 - 30] = 1  # 29 good ones above
    assert metrics.recall_at_far(scores, labels, 0.29) == 1
    assert metrics.recall_at_far(scores, labels, 0.28) == 0


@settings(max_examples=80, deadline=None)
@given(ranked, st.floats(0, 1))
def test_they_are_the_best_of_all_thresholds(pairs, rate):
    scores, labels = split(pairs)
    if len(set(labels.tolist())) < 2:
        assert math.isnan(metrics.far_at_full_recall(scores, labels))
        assert math.isnan(metrics.recall_at_far(scores, labels, rate))
        return
    points = operating_points(scores, labels)
    assert metrics.far_at_full_recall(scores, labels) == min(alarms for recall, alarms in points if recall == 1)
    assert metrics.recall_at_far(scores, labels, rate) == max(recall for recall, alarms in points if alarms <= rate)


@settings(max_examples=40, deadline=None)
@given(ranked)
def test_the_two_are_each_others_inverse_and_recall_never_falls(pairs):
    scores, labels = split(pairs)
    if len(set(labels.tolist())) < 2:
        return
    found = [metrics.recall_at_far(scores, labels, rate) for rate in np.linspace(0, 1, 21)]
    assert found == sorted(found)
    assert found[-1] == 1
    full = metrics.far_at_full_recall(scores, labels)
    assert metrics.recall_at_far(scores, labels, full) == 1
    assert full == 0 or metrics.recall_at_far(scores, labels, np.nextafter(full, 0)) < 1


@pytest.mark.parametrize("rate", [-0.1, 1.5, math.nan])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match=rf"the false-alarm rate is {rate}; it must be between 0 and 1"):
        metrics.recall_at_far(np.arange(2), np.arange(2), rate)


@pytest.mark.parametrize(("count", "expected"), [(1, 9.0), (3, 8.0), (100, 4.5)])
def test_top_score_is_the_mean_of_the_highest_pixels(count, expected):
    maps = np.stack([np.arange(10.0).reshape(2, 5), np.zeros((2, 5))])
    assert metrics.top_score(maps, count).tolist() == [expected, 0.0]
    assert metrics.top_score(maps[0], count) == expected
