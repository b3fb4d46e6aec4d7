"""Generation metrics against hand-worked numbers, plain loops and closed forms."""

import math

import numpy as np
import pytest
from scipy import linalg

from farm import metrics


def features(rows, width, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (rows, width))


def kernel(a, b):
    return (sum(i * j for i, j in zip(a, b, strict=True)) / len(a) + 1) ** 3


def brute_kid(x, y):
    own = [
        np.mean([kernel(side[i], side[j]) for i in range(len(side)) for j in range(len(side)) if i != j])
        for side in (x, y)
    ]
    return sum(own) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_kid_of_two_rows_a_side_by_hand():
    x, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 0.0], [2.0, 0.0]])
    # k(x1, x2) = (0/2 + 1)^3 = 1; k(y1, y2) = (4/2 + 1)^3 = 27; k(x1, y) = (2/2 + 1)^3 = 8; k(x2, y) = 1
    assert metrics.kid(x, y) == pytest.approx(1 + 27 - 2 * (8 + 8 + 1 + 1) / 4)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 9), (12, 3)])
def test_kid_is_the_plain_loop(n, m):
    x, y = features(n, 6, 0), features(m, 6, 1, 0.5)
    assert metrics.kid(x, y) == pytest.approx(brute_kid(x.tolist(), y.tolist()), rel=1e-10)


def test_kid_of_one_distribution_is_0_on_average_at_any_size():
    """Unbiased: the biased form (diagonals kept) would stand above 0 by far more than the error of this mean."""
    found = [metrics.kid(features(8, 4, 2 * seed), features(8, 4, 2 * seed + 1)) for seed in range(600)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(len(found))
    assert min(found) < 0 < max(found)


def test_subsets_agree_with_the_whole_and_spread_less_as_they_grow():
    x, y = features(300, 8, 0), features(400, 8, 1, 0.4)
    mean, small = metrics.kid_subsets(x, y, subsets=200, size=40)
    _, large = metrics.kid_subsets(x, y, subsets=200, size=160)
    assert mean == pytest.approx(metrics.kid(x, y), abs=4 * small / math.sqrt(200))
    assert large < 0.6 * small
    assert metrics.kid_subsets(x, y, subsets=3, size=40) == metrics.kid_subsets(x, y, subsets=3, size=40)
    assert metrics.kid_subsets(x, y, subsets=3, size=40) != metrics.kid_subsets(x, y, subsets=3, size=40, seed=1)


def test_subsets_of_all_rows_are_the_whole():
    x, y = features(20, 8, 0), features(20, 8, 1, 0.4)
    mean, deviation = metrics.kid_subsets(x, y, subsets=3, size=100)
    assert mean == pytest.approx(metrics.kid(x, y))
    assert deviation == pytest.approx(0, abs=1e-12)


def test_ten_of_ten_is_several_times_as_noisy_as_a_hundred_of_a_hundred():
    """Card 005 B: the published protocol under equality, against clean-fid's."""
    pairs_ = [(features(150, 16, 2 * seed), features(150, 16, 2 * seed + 1)) for seed in range(25)]
    tens = [metrics.kid_subsets(x, y, subsets=10, size=10, seed=seed)[0] for seed, (x, y) in enumerate(pairs_)]
    hundreds = [metrics.kid_subsets(x, y, seed=seed)[0] for seed, (x, y) in enumerate(pairs_)]
    assert np.std(tens) > 3 * np.std(hundreds)
    assert abs(np.mean(tens)) < 4 * np.std(tens) / 5  # noisy, not biased


def textbook_fid(x, y):
    s1, s2 = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(s1 @ s2).real
    return ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)


def test_fid_is_the_textbook_formula_where_that_is_stable():
    x, y = features(200, 5, 0), features(150, 5, 1, 0.3) * np.arange(1, 6)
    assert metrics.fid(x, y) == pytest.approx(textbook_fid(x, y), rel=1e-8)


def test_fid_of_two_gaussians_is_the_closed_form():
    """Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2. Whitened draws have these moments exactly."""
    drawn = features(400, 3, 0)
    white = np.linalg.qr(drawn - drawn.mean(axis=0))[0] * math.sqrt(399)
    white -= white.mean(axis=0)
    x, y = white * [1.0, 2.0, 3.0] + [0.0, 1.0, 0.0], white * [2.0, 2.0, 1.0]
    assert metrics.fid(x, y) == pytest.approx(1 + 1 + 0 + 4, rel=1e-9)


def test_fid_with_fewer_rows_than_dimensions():
    x = features(10, 64, 0)
    assert metrics.fid(x, x) == pytest.approx(0, abs=1e-9)
    assert metrics.fid(x, x + 0.5) == pytest.approx(64 * 0.25, rel=1e-9)
    line = np.zeros((2, 64))
    line[1, 0] = 2.0  # variance 2 on one axis
    assert metrics.fid(line, -line[:, ::-1]) == pytest.approx(1 + 1 + 2 + 2, rel=1e-9)  # nothing shared


def pairs(points):
    return lambda first, second: np.abs(points[first] - points[second])


def test_diversity_is_that_within_clusters():
    """Members 0, 1, 3 of reference 0: (1 + 3 + 2) / 3 = 2; 10 and 14 of reference 1: 4; 99 alone does not count."""
    points, references = np.array([0.0, 10.0, 1.0, 14.0, 3.0, 99.0]), np.array([1.0, 12.0, 100.0])
    to_references = np.abs(points[:, None] - references)
    assert metrics.cluster_diversity(to_references, pairs(points)) == pytest.approx(3)
    assert metrics.cluster_diversity(to_references, pairs(points), lone_is_zero=True) == pytest.approx((2 + 4 + 0) / 3)


def test_diversity_draws_at_most_so_many_members():
    points = np.arange(30.0)
    seen = []

    def spy(first, second):
        seen.append(len(first))
        return np.abs(points[first] - points[second])

    made = metrics.cluster_diversity(np.zeros((30, 1)), spy, most=10)
    assert seen == [45]
    assert made == metrics.cluster_diversity(np.zeros((30, 1)), spy, most=10)
    assert 5 < made < 15  # 31 / 3 over all


def test_nothing_to_compare_is_nan():
    one = np.zeros((1, 4))
    assert math.isnan(metrics.kid(one, features(5, 4, 0)))
    assert math.isnan(metrics.fid(features(5, 4, 0), one))
    assert math.isnan(metrics.cluster_diversity(np.eye(2), pairs(np.arange(2.0))))
    assert math.isnan(metrics.inception_score_style(np.eye(4))[0])
    broken = np.where(np.eye(5, 4) > 0, np.nan, 1.0)
    assert math.isnan(metrics.kid(broken, features(5, 4, 0)))
    assert math.isnan(metrics.fid(broken, features(5, 4, 0)))


def test_features_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(5, 4\) and \(5, 3\)"):
        metrics.kid(features(5, 4, 0), features(5, 3, 0))


def test_inception_score_of_sure_and_of_unsure_classifiers():
    sure = np.tile(np.eye(4), (10, 1))
    assert metrics.inception_score_style(sure) == pytest.approx((4, 0))
    assert metrics.inception_score_style(np.full((40, 4), 0.25)) == pytest.approx((1, 0))
    half = np.array([[0.9, 0.1], [0.1, 0.9]])
    wanted = math.exp(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert metrics.inception_score_style(half, splits=1)[0] == pytest.approx(wanted)


def mask(*ones):
    marked = np.zeros((4, 4), np.uint8)
    for place in ones:
        marked[place] = 1
    return marked


def test_mask_iou_by_hand():
    two, three = mask((0, 0), (0, 1)), mask((0, 1), (1, 1), (2, 1))
    assert metrics.mask_iou(two, three) == pytest.approx(1 / 4)
    assert metrics.mask_iou(np.stack([two, two, mask()]), np.stack([255 * two, mask(), three])).tolist() == [1, 0, 0]
    assert math.isnan(metrics.mask_iou(mask(), mask()))
    with pytest.raises(ValueError, match=r"masks have shapes \(4, 4\) and \(2, 4, 4\)"):
        metrics.mask_iou(two, np.stack([two, two]))


def test_alignment_is_the_middle_the_ends_and_the_share_below_a_half():
    ious = np.linspace(0, 1, 11)
    assert metrics.alignment(ious) == pytest.approx({"median": 0.5, "p10": 0.1, "p90": 0.9, "below_half": 5 / 11})
    for undefined in (np.zeros(0), np.array([0.5, np.nan])):
        assert all(math.isnan(value) for value in metrics.alignment(undefined).values())
