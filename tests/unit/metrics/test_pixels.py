"""Maps one at a time: the same numbers as brute force over all of them at once, and memory that is bounded."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm import metrics
from farm.metrics import pixels


def photographs(seed, count=5, levels=7, dtype=np.float32):
    """Maps of ``levels`` distinct scores, of different sizes, with a mask each; every third is good."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        shape = tuple(random.integers(5, 12, 2))
        mask = (random.random(shape) < 0.2) & (number % 3 != 2)
        made.append(((random.integers(0, levels, shape) / levels + 0.3 * mask).astype(dtype), mask))
    return made


def streamed(photos):
    scores = metrics.PixelScores()
    for one, mask in photos:
        scores.add(one, mask)
    return scores.counts()


def pooled(photos):
    return tuple(np.concatenate([photo[part].ravel() for photo in photos]) for part in (0, 1))


def textbook_pro(photos, limit):
    """PRO over the false positive rate, threshold by threshold, region by region."""
    from scipy import ndimage

    found = []
    for one, mask in photos:
        numbered, regions = ndimage.label(mask, np.ones((3, 3)))
        found += [one[numbered == region + 1] for region in range(regions)]
    values, positive = pooled(photos)
    points = [(0.0, 0.0)]
    for threshold in np.unique(values)[::-1]:
        points.append((np.mean(values[~positive] >= threshold), np.mean([np.mean(s >= threshold) for s in found])))
    return area_under(points, limit) / limit


def area_under(points, limit):
    """Trapezoid by trapezoid from 0 to ``limit``; the one that crosses it is cut there."""
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        if left < min(right, limit):
            end = min(right, limit)
            area += (end - left) * (low + (high - low) * (end - left) / (right - left) / 2)
    return area


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([0.05, 0.3, 1.0]))
def test_streaming_equals_scikit_learn_and_the_textbook(seed, levels, limit):
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    photos = photographs(seed, levels=levels)
    values, positive = pooled(photos)
    found = streamed(photos).metrics(limit)
    precision, recall, _ = precision_recall_curve(positive, values)
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(positive, values), abs=1e-12)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(positive, values), abs=1e-12)
    best = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-300))
    assert found["pixel_f1"] == pytest.approx(best, abs=1e-12)
    assert found["aupro"] == pytest.approx(textbook_pro(photos, limit), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300))
def test_blocks_order_and_padding_change_nothing(seed, block):
    photos = photographs(seed)
    whole = streamed(photos).metrics()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "BLOCK", block)
        assert streamed(photos).metrics() == whole
    back = streamed(photos[::-1]).metrics()
    assert back == pytest.approx(whole, abs=1e-12)
    values, positive = pooled(photos)
    assert whole["pixel_ap"] == metrics.average_precision(values, positive)
    assert whole["pixel_auroc"] == metrics.auroc(values, positive)


@pytest.mark.parametrize("seed", range(6))
def test_arrays_at_once_are_the_same_code(seed):
    photos = [(one[:5, :5], mask[:5, :5]) for one, mask in photographs(seed)]
    maps, masks = (np.stack(part) for part in zip(*photos, strict=True))
    assert metrics.pixel_metrics(maps, masks) == streamed(photos).metrics()
    assert metrics.iap(maps, masks) == streamed(photos).iap()


def test_float32_neighbours_and_signed_zeros_are_told_apart_as_numbers_are():
    one = np.float32(0.5)
    next_, tiny = np.nextafter(one, np.float32(1)), np.float32(1e-45)
    maps = np.array([[next_, one, tiny, -0.0, 0.0, -tiny]], np.float32)
    labels = np.array([[1, 0, 0, 1, 0, 0]])
    scores = metrics.PixelScores()
    scores.add(maps, labels)
    # next_ beats all four; -0.0 ties with 0.0, beats -tiny and loses to the other two
    assert scores.counts().ranking.auroc() == pytest.approx((4 + 1.5) / 8)


def test_maps_of_several_types_mix_without_loss():
    fine = np.nextafter(np.float64(0.5), 1)  # is 0.5 in float32
    scores = metrics.PixelScores()
    scores.add(np.array([[0.5, 0.25]], np.float32), np.array([[0, 0]]))
    scores.add(np.array([[fine, 0.0]]), np.array([[1, 0]]))
    scores.add(np.array([[0, 0]], np.uint8))
    assert scores.counts().ranking.auroc() == 1


def test_the_callers_arrays_are_neither_changed_nor_kept():
    maps, masks = np.array([[3.0, 1.0, 2.0]]), np.array([[1, 0, 0]])
    scores = metrics.PixelScores()
    scores.add(maps, masks)
    before = scores.counts().metrics()
    assert maps.tolist() == [[3, 1, 2]]
    maps[:] = 0
    assert scores.counts().metrics() == before
    scores.add(np.array([[9.0]]))
    assert scores.counts().ranking.negatives == 3


def test_a_photograph_without_mask_is_all_good():
    one, mask = photographs(1)[0]
    scores, other = metrics.PixelScores(), metrics.PixelScores()
    for held, none in ((scores, None), (other, np.zeros((2, 2)))):
        held.add(one, mask)
        held.add(np.ones((2, 2), np.float32), none)
    assert scores.counts().metrics() == other.counts().metrics()


def test_nothing_or_nan_is_nan():
    scores = metrics.PixelScores()
    assert all(math.isnan(value) for value in scores.counts().metrics().values())
    scores.add(np.array([[1.0, 0.0]]), np.array([[1, 0]]))
    assert set(scores.counts().metrics().values()) == {1.0}
    scores.add(np.array([[np.nan]]))
    assert all(math.isnan(value) for value in scores.counts().metrics().values())


def test_shapes_that_do_not_fit_are_named():
    scores = metrics.PixelScores()
    with pytest.raises(ValueError, match=r"the map has shape \(2, 3\) and its mask \(3, 2\); both must be \(H, W\)"):
        scores.add(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"its channels \(1, 2, 3\) and 2 saturations"):
        scores.add_channels(np.zeros((2, 3)), np.zeros((1, 2, 3)), [1, 1])


# ---------------------------------------------------------------------------------------------------------- sPRO


def rows(*marked, width=10):
    """Channels (C, 1, width) of the given column ranges."""
    channels = np.zeros((len(marked), 1, width))
    for channel, (start, end) in enumerate(marked):
        channels[channel, 0, start:end] = 1
    return channels


def test_spro_by_hand():
    """Channel of 4 pixels saturating at 2, one of 2 at 2, four good pixels; thresholds 9, 8, ... 0.

    sPRO climbs 0.25 (9), 0.5 (8), then the first is found whole: 7 and 6 add nothing. At 5 comes a good pixel, at 4 a
    pixel of the second channel (0.75), at 3 good, at 2 the last pixel (1.0), at 1 and 0 good ones.
    """
    maps = np.array([[9, 8, 7, 6, 4, 2, 5, 3, 1, 0]], np.float32)
    (quarter, half, whole) = metrics.auspro([maps], [rows((0, 4), (4, 6))], [[2, 2]], limits=(0.25, 0.5, 1.0))
    assert quarter == pytest.approx(0.5)
    assert half == pytest.approx((0.5 + 0.75) / 2)
    assert whole == pytest.approx((0.5 + 0.75 + 1 + 1) / 4)
    plain = metrics.auspro([maps], [rows((0, 4), (4, 6))], [[4, 2]], limits=(0.25,))
    assert plain == pytest.approx((0.5,))  # PRO: (4/4 + 0) / 2 after four hits, before any alarm
    early = np.array([[9, 8, 6, 5, 4, 2, 7, 3, 1, 0]], np.float32)  # the alarm after two hits
    assert metrics.auspro([early], [rows((0, 4), (4, 6))], [[2, 2]], limits=(0.25,)) == pytest.approx((0.5,))
    assert metrics.auspro([early], [rows((0, 4), (4, 6))], [[4, 2]], limits=(0.25,)) == pytest.approx((0.25,))


def test_channels_that_overlap_share_pixels_but_no_pixel_counts_twice_elsewhere():
    """Both channels have columns 0 and 1; one saturates at 1 pixel, the other at 3."""
    maps = np.array([[9, 8, 1, 5, 0]], np.float32)
    scores = metrics.PixelScores()
    scores.add_channels(maps, rows((0, 2), (0, 3), width=5), [1, 3])
    counts = scores.counts()
    assert counts.ranking.positives == 3
    assert counts.ranking.thresholds.tolist() == [9, 8, 1]
    np.testing.assert_allclose(counts.overlap, [(1 + 1 / 3) / 2, (1 + 2 / 3) / 2, 1])


def brute_spro(maps, channels, saturations, limit):
    defects = np.array([masks.any(axis=0) for masks in channels])
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = [
            min((one[mask > 0] >= threshold).sum() / full, 1.0)
            for one, masks, fulls in zip(maps, channels, saturations, strict=True)
            for mask, full in zip(masks, fulls, strict=True)
        ]
        points.append((np.mean(maps[~defects] >= threshold), np.mean(found)))
    return area_under(points, limit) / limit


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_spro_equals_brute_force_over_overlapping_channels_with_ties(seed):
    random = np.random.default_rng(seed)
    maps = random.integers(0, 6, (3, 6, 7)) / 5
    channels = [(random.random((count, 6, 7)) < 0.25).astype(np.uint8) for count in (2, 3, 0)]
    channels[0][0, 0, 0] = channels[0][1, 1, 1] = channels[1][:, 2, 2] = 1  # none is empty
    saturations = [[random.uniform(0.2, mask.sum()) for mask in masks] for masks in channels]
    found = metrics.auspro(maps, channels, saturations)
    expected = [brute_spro(maps, channels, saturations, limit) for limit in metrics.SPRO_LIMITS]
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_spro_is_pro_where_regions_saturate_at_their_area(seed):
    from scipy import ndimage

    photos = photographs(seed)
    scores = metrics.PixelScores()
    for one, mask in photos:
        numbered, count = ndimage.label(mask, np.ones((3, 3)))
        channels = np.array([numbered == region + 1 for region in range(count)]).reshape(count, *one.shape)
        scores.add_channels(one, channels, channels.sum(axis=(1, 2)).tolist())
    found, pro = scores.counts(), streamed(photos)
    for limit in metrics.SPRO_LIMITS:
        assert found.aupro(limit) == pytest.approx(pro.aupro(limit), abs=1e-12)
    assert found.metrics() == pytest.approx(pro.metrics(), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_saturating_earlier_never_lowers_spro(seed, share):
    random = np.random.default_rng(seed)
    maps, channels = random.random((1, 8, 8)), (random.random((2, 8, 8)) < 0.4).astype(np.uint8)
    channels[:, 0, 0] = 1
    area = channels.sum(axis=(1, 2))
    assert metrics.auspro(maps, [channels], [share * area])[1] >= metrics.auspro(maps, [channels], [area])[1] - 1e-12


@pytest.mark.parametrize(
    ("area", "threshold", "relative", "expected"),
    [(9000, 6300, False, 6300), (100, 6300, False, 100), (101, 0.5, True, 50), (10, 1.0, True, 10), (1, 0.5, True, 1)],
)
def test_saturation_in_pixels(area, threshold, relative, expected):
    assert metrics.saturation_px(area, threshold, relative) == expected


def test_saturations_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match=r"saturation threshold is 1\.5; it must be above 0, at most 1"):
        metrics.saturation_px(10, 1.5, True)
    with pytest.raises(ValueError, match=r"saturation threshold is 0; it must be above 0$"):
        metrics.saturation_px(10, 0, False)
    for saturation in (0, 5):
        with pytest.raises(ValueError, match=f"channel 1 has 4 pixels but saturates at {saturation}"):
            metrics.auspro([np.zeros((1, 10))], [rows((0, 2), (4, 8))], [[1, saturation]])
    with pytest.raises(ValueError, match="channel 0 has 0 pixels"):
        metrics.auspro([np.zeros((1, 10))], [rows((3, 3))], [[1]])
