"""Accuracy of defect types and of argmax masks, by hand and against scikit-learn."""

import math

import numpy as np
import pytest

from farm import metrics


def test_rare_types_weigh_as_much_as_common_ones():
    truth = np.array(["scratch"] * 8 + ["dent"] * 2)
    predicted = np.array(["scratch"] * 9 + ["dent"])
    assert metrics.accuracy(predicted, truth) == 0.9
    assert metrics.macro_accuracy(predicted, truth) == (1 + 0.5) / 2


def test_a_type_that_is_only_predicted_is_no_class():
    assert metrics.macro_accuracy(np.array([0, 7]), np.array([0, 1])) == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_learn(seed):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, 60)
    predicted = np.where(random.random(60) < 0.6, truth, random.integers(0, 5, 60))
    assert metrics.accuracy(predicted, truth) == pytest.approx(accuracy_score(truth, predicted))
    assert metrics.macro_accuracy(predicted, truth) == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_segmentation_by_hand():
    """Defect: 2 found of 4, 1 false; background: 11 of 12 kept, 2 taken for it."""
    masks, found = np.zeros((1, 4, 4)), np.zeros((1, 4, 4))
    masks[0, 0], found[0, 0, :2], found[0, 3, 3] = 1, 1, 1
    result = metrics.segmentation_metrics(found, masks)
    assert result["miou"] == pytest.approx((2 / 5 + 11 / 14) / 2)
    assert result["macc"] == pytest.approx((2 / 4 + 11 / 12) / 2)
    assert metrics.segmentation_metrics(0 * masks, 0 * masks) == {"miou": 1.0, "macc": 1.0}


def test_nothing_is_nan_and_shapes_are_named():
    none = np.zeros(0)
    assert math.isnan(metrics.accuracy(none, none))
    assert math.isnan(metrics.macro_accuracy(none, none))
    assert all(math.isnan(value) for value in metrics.segmentation_metrics(none, none).values())
    for metric in (metrics.accuracy, metrics.macro_accuracy, metrics.segmentation_metrics):
        with pytest.raises(ValueError, match=r"predicted has shape \(3,\) but truth \(2,\)"):
            metric(np.zeros(3), np.zeros(2))
