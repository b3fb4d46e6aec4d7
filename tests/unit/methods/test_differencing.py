"""Card 000 section 6: where a translated image differs from its source."""

import cv2
import numpy as np
import pytest

from farm.methods.differencing import (
    LEAST_VISIBLE,
    MISALIGNED,
    NO_DEFECT,
    Differencing,
    framed,
    hysteresis,
    lab_difference,
    matched,
    moved_back,
    shift,
    threshold,
    trimmed,
)
from tests.tiny import surface

SIZE = 96
SHAPES = ("square", "ellipse", "ring")


@pytest.fixture(scope="module")
def difference() -> Differencing:
    return Differencing(align_px=4, min_area=0.0003)


def shape(name: str) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if name == "square":
        mask[30:60, 40:66] = 1
    elif name == "ellipse":
        cv2.ellipse(mask, (45, 50), (26, 13), 30, 0, 360, 1, -1)
    else:
        cv2.circle(mask, (48, 48), 22, 1, 6)
    return mask


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def darker(source: np.ndarray, mask: np.ndarray, by: int = 60) -> np.ndarray:
    return np.asarray(np.clip(source.astype(int) - by * mask[..., None], 0, 255), np.uint8)


def grain(source: np.ndarray, sigma: float, seed: int = 5) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, source.shape)
    return np.clip(np.rint(source + noise), 0, 255).astype(np.uint8)


# card 000 7.5
@pytest.mark.parametrize("name", ["square", "ellipse"])
def test_a_synthetic_paste_is_found(difference: Differencing, name: str) -> None:
    source, foreign = surface(2, SIZE, seed=1)
    mask = shape(name)
    images = np.stack([np.where(mask[..., None] == 1, foreign, source), darker(source, mask)])
    for found in difference(images, np.stack([source, source])):
        assert iou(found.mask, mask) > 0.95
        assert found.objection == ""


# card 000 7.5
def test_an_identical_pair_has_no_defect(difference: Differencing) -> None:
    sources = surface(3, SIZE)
    for found, source in zip(difference(sources, sources), sources, strict=True):
        assert found.objection == NO_DEFECT
        assert found.mask.sum() == 0
        assert found.shift_px == 0
        np.testing.assert_array_equal(found.image, source)


def test_a_paste_is_found_under_grain_that_was_redrawn(difference: Differencing) -> None:
    source, mask = surface(1, SIZE, seed=2)[0], shape("ellipse")
    found = difference(grain(darker(source, mask), 4)[None], source[None])[0]
    assert iou(found.mask, mask) > 0.9
    assert difference(grain(source, 4)[None], source[None])[0].mask.mean() < 0.02


def test_holes_are_filled_and_specks_dropped(difference: Differencing) -> None:
    source, ring = surface(1, SIZE, seed=3)[0], shape("ring")
    image = darker(source, ring)
    image[4:6, 4:6] = 0
    whole = np.zeros_like(ring)
    cv2.circle(whole, (48, 48), 25, 1, -1)
    found = Differencing(align_px=4, min_area=0.01)(image[None], source[None])[0].mask
    assert iou(found, whole) > 0.9
    assert found[:10, :10].sum() == 0
    assert difference(image[None], source[None])[0].mask[:10, :10].sum() > 0


def test_a_small_shift_is_undone(difference: Differencing) -> None:
    wide, mask = surface(1, SIZE + 16, seed=4)[0], shape("square")
    reference = wide[8:-8, 8:-8]
    image = darker(wide, np.pad(mask, 8))[6:-10, 5:-11]  # its content lies 2 px lower and 3 px further right
    assert shift(image, reference) == pytest.approx((3, 2), abs=0.15)
    found = difference(image[None], reference[None])[0]
    assert found.objection == ""
    assert found.shift_px == pytest.approx(np.hypot(3, 2), abs=0.2)
    assert iou(found.mask, mask) > 0.9


def test_a_large_shift_is_refused(difference: Differencing) -> None:
    wide = surface(1, SIZE + 16, seed=4)[0]
    image, reference = wide[8:-8, 2:-14], wide[8:-8, 8:-8]
    found = difference(image[None], reference[None])[0]
    assert found.objection == MISALIGNED
    assert found.shift_px == pytest.approx(6, abs=0.2)
    assert found.mask.sum() == 0
    assert Differencing(align_px=7, min_area=0.0003)(image[None], reference[None])[0].objection != MISALIGNED


def test_redrawn_grain_is_no_shift() -> None:
    flat, structured = np.full((SIZE, SIZE, 3), 128, np.uint8), surface(1, SIZE, seed=6)[0]
    assert shift(flat, flat) == (0.0, 0.0)
    assert shift(flat, structured) == (0.0, 0.0)
    assert np.hypot(*shift(grain(structured, 25), structured)) < 0.25


def test_moving_back_undoes_a_shift_and_the_frame_knows_what_came_from_outside() -> None:
    wide = surface(1, 48, seed=1)[0]
    image, reference = wide[8:-8, 5:-11], wide[8:-8, 8:-8]
    inside = framed(image.shape, (3.0, 0.0))
    np.testing.assert_array_equal(moved_back(image, (3.0, 0.0))[inside], reference[inside])
    assert inside[:, :-3].all()
    assert not inside[:, -3:].any()
    assert framed(image.shape, (0.1, 0.1)).all()


# card 000 section 6: match colour outside
def test_another_exposure_is_no_defect_and_hides_none(difference: Differencing) -> None:
    source, mask = surface(1, SIZE, seed=7)[0], shape("square")
    tint = np.array([0.9, 1.05, 0.95])
    exposed = np.clip(np.rint(source * tint + [6, -4, 9]), 0, 255).astype(np.uint8)
    found = difference(exposed[None], source[None])[0]
    assert found.objection == NO_DEFECT
    assert np.abs(found.image.astype(int) - source).mean() < 1
    defective = np.clip(np.rint(darker(source, mask) * tint + [6, -4, 9]), 0, 255).astype(np.uint8)
    found = difference(defective[None], source[None])[0]
    assert iou(found.mask, mask) > 0.95
    assert np.abs(found.image[mask == 0].astype(int) - source[mask == 0]).mean() < 1


def test_colours_are_matched_on_what_changed_least() -> None:
    source, mask = surface(1, SIZE, seed=7)[0] // 2 + 60, shape("square")
    image = darker(source, mask, 50) + np.uint8(12)
    np.testing.assert_allclose(matched(image, source)[mask == 0], source[mask == 0], atol=2)
    flat = np.full((16, 16, 3), 90, np.uint8)
    np.testing.assert_array_equal(matched(flat + np.uint8(5), flat), flat)


def test_a_defect_is_sought_on_the_product_only(difference: Differencing) -> None:
    source = surface(1, SIZE, seed=8)[0]
    one, two = np.zeros((2, SIZE, SIZE), np.uint8)
    one[20:40, 20:40], two[60:80, 60:80] = 1, 1
    allowed = np.zeros((1, SIZE, SIZE), bool)
    allowed[:, :50] = True
    image = darker(source, one | two)[None]
    assert iou(difference(image, source[None])[0].mask, one | two) > 0.9
    assert iou(difference(image, source[None], allowed)[0].mask, one) > 0.9
    assert difference(image, source[None], np.zeros_like(allowed))[0].objection == NO_DEFECT


def test_features_see_a_texture_of_the_same_mean_colour(difference: Differencing) -> None:
    flat = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
    striped = flat.copy()
    striped[:, 32:64, 32:64:2], striped[:, 32:64, 33:64:2] = 118, 138
    distance = difference.feature_distance(striped, flat)[0]
    assert distance.shape == (SIZE, SIZE)
    assert 0 <= distance.min() <= distance.max() <= 1
    assert distance[36:60, 36:60].mean() > 5 * distance[:16].mean()
    assert difference.feature_distance(flat, flat).max() == 0


def test_lab_difference_is_cie_1976() -> None:
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert lab_difference(black, white)[0, 0] == pytest.approx(1.0, abs=1e-3)
    red = np.array([[[255, 0, 0]]], np.uint8)  # L 53.24, a 80.09, b 67.20
    assert lab_difference(red, black)[0, 0] == pytest.approx(np.linalg.norm([53.24, 80.09, 67.20]) / 100, abs=2e-3)


def test_the_threshold_is_the_largest_of_three() -> None:
    rng = np.random.default_rng(0)
    quiet = np.abs(rng.normal(0.1, 0.01, 10_000)).astype(np.float32)
    low = quiet[quiet <= np.quantile(quiet, 0.8)]
    assert threshold(quiet) == pytest.approx(low.mean() + 4 * low.std(), rel=1e-5)  # Otsu would split the noise
    apart = np.concatenate([quiet, quiet + 1])[:11_000]
    assert 0.15 < threshold(apart) < 1.1
    assert threshold(np.zeros(100, np.float32)) == LEAST_VISIBLE


def test_hysteresis_equals_flood_fill() -> None:
    d = np.random.default_rng(1).random((24, 24)).astype(np.float32)
    high, wanted = 0.97, np.zeros((24, 24), bool)
    todo = [tuple(place) for place in np.argwhere(d > high)]
    while todo:
        y, x = todo.pop()
        if not (0 <= y < 24 and 0 <= x < 24) or wanted[y, x] or d[y, x] <= high / 2:
            continue
        wanted[y, x] = True
        todo += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert wanted.any()
    np.testing.assert_array_equal(hysteresis(d, high), wanted)
    assert not hysteresis(d, 2.0).any()


def test_a_halo_is_cut_at_half_height_piece_by_piece() -> None:
    colours = np.zeros((20, 40), np.float32)
    colours[5:10, 5:10], colours[5:10, 25:30] = 0.8, 0.1
    halo = cv2.dilate((colours > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    np.testing.assert_array_equal(trimmed(halo, colours), colours > 0)
    assert not trimmed(np.zeros_like(halo), colours).any()


def test_a_row_is_the_same_in_any_company(difference: Differencing) -> None:
    references = surface(4, SIZE, seed=9)
    images = np.stack([grain(darker(row, shape(SHAPES[i % 3]), 30 + 20 * i), 3) for i, row in enumerate(references)])
    whole = difference(images, references)
    for rows in ([3, 1, 0, 2], [2, 2, 2, 2]):
        for found, row in zip(difference(images[rows], references[rows]), rows, strict=True):
            np.testing.assert_array_equal(found.mask, whole[row].mask)
            np.testing.assert_array_equal(found.image, whole[row].image)
            assert found.shift_px == whole[row].shift_px
