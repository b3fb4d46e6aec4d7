"""Distances are those of an exact algorithm, bit for bit, whatever memory the mask lies in."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from farm.distance import EXACT, distance_px


def blobs(seed: int, side: int, share: float) -> np.ndarray:
    field = cv2.GaussianBlur(np.random.default_rng(seed).random((side, side)), (0, 0), side / 40)
    return (field > np.quantile(field, 1 - share)).astype(np.uint8)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
@pytest.mark.parametrize("side", [32, 256, 513])
def test_every_bit_is_that_of_the_exact_distance(side: int, share: float) -> None:
    for seed in range(4):
        mask = blobs(seed, side, share)
        exact = ndimage.distance_transform_edt(mask).astype(np.float32)
        np.testing.assert_array_equal(distance_px(mask), exact)


def test_a_distance_beyond_what_float32_squares_tell_apart_is_exact_too() -> None:
    mask = np.ones((40, 2048), bool)
    mask[17, 3] = False
    found = distance_px(mask)
    assert float(found.max()) ** 2 > EXACT
    rows, columns = np.indices(mask.shape)
    squared = (rows - 17) ** 2 + (columns - 3) ** 2
    np.testing.assert_array_equal(found, np.sqrt(squared).astype(np.float32))


def test_where_the_mask_lies_in_memory_changes_nothing() -> None:
    mask, room = blobs(1, 128, 0.1), np.empty(128 * 128 + 64, np.uint8)
    first = distance_px(mask)
    for offset in range(64):
        moved = room[offset : offset + mask.size].reshape(mask.shape)
        moved[:] = mask
        np.testing.assert_array_equal(distance_px(moved), first)


def test_no_outside_is_infinitely_far() -> None:
    assert np.isinf(distance_px(np.ones((5, 7)))).all()
    assert not distance_px(np.zeros((5, 7))).any()
