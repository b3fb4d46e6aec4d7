import numpy as np
import pytest

from farm.methods import refine
from tests.tiny import surface


def square(size_px: int, top: int, left: int, side: int) -> refine.Pixels:
    mask = np.zeros((size_px, size_px), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def iou(a: refine.Pixels, b: refine.Pixels) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_dilation_is_a_disc_around_every_pixel(radius: int) -> None:
    mask = square(24, 3, 4, 5) | square(24, 20, 0, 1)
    y, x = np.mgrid[:24, :24]
    wanted = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        wanted |= ((y - row) ** 2 + (x - column) ** 2 <= radius**2).astype(np.uint8)
    np.testing.assert_array_equal(refine.dilate(mask, radius), wanted)
    assert refine.dilate(mask * 0, radius).sum() == 0


# card 001 7.8
@pytest.mark.parametrize("radius", [0, 2, 4])
def test_outside_the_dilated_mask_every_byte_is_the_source(radius: int) -> None:
    source, image = surface(2, 48)
    mask = square(48, 10, 12, 9)
    made, outside = refine.composite(image, source, mask, radius), refine.dilate(mask, radius) == 0
    np.testing.assert_array_equal(made[outside], source[outside])
    np.testing.assert_array_equal(made[mask == 1], image[mask == 1])
    ring = ~outside & (mask == 0)
    low, high = np.minimum(image, source)[ring], np.maximum(image, source)[ring]
    assert ((made[ring] >= low) & (made[ring] <= high)).all()


def test_feather_rises_inside_the_dilated_mask_only() -> None:
    mask = square(32, 12, 12, 6)
    dilated = refine.dilate(mask, 3)
    weight = refine.feather(mask, dilated)
    assert weight[15, 7:13] == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1])
    assert (weight[dilated == 0] == 0).all()
    assert (weight[dilated == 1] > 0).all()
    assert (weight[mask == 1] == 1).all()
    assert (refine.feather(np.ones((4, 4), np.uint8), np.ones((4, 4), np.uint8)) == 1).all()


def between_variance(values: refine.Reals, threshold: float) -> float:
    upper = values > threshold
    return float(upper.mean() * (1 - upper.mean()) * (values[upper].mean() - values[~upper].mean()) ** 2)


@pytest.mark.parametrize("seed", range(4))
def test_otsu_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(5, 2, 300), rng.normal(20, 4, 100)]).astype(np.float32)
    best = max(between_variance(values, value) for value in values if value < values.max())
    assert between_variance(values, refine.otsu(values)) > 0.999 * best


def test_otsu_of_two_values_lies_between_and_of_one_value_above() -> None:
    assert refine.otsu(np.array([1, 1, 9], np.float32)) == pytest.approx(5, abs=0.1)
    assert refine.otsu(np.full(5, 3, np.float32)) == 3


# card 001 7.9
@pytest.mark.parametrize("contrast", [12, 60])
def test_a_pasted_square_is_found_and_nothing_is_nothing(contrast: int) -> None:
    reconstruction = surface(1, 128)[0] // 2 + 40
    defect, target = square(128, 40, 50, 30), square(128, 34, 46, 44)
    image = reconstruction + contrast * defect[..., None]
    assert iou(refine.refine(image, reconstruction, target, 3), defect) > 0.95
    assert refine.refine(reconstruction, reconstruction, target, 3).sum() == 0


def test_change_below_the_noise_of_the_background_is_nothing() -> None:
    rng = np.random.default_rng(0)
    reconstruction = np.full((96, 96, 3), 128, np.uint8)
    image = np.clip(128 + rng.normal(0, 60, (96, 96, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
    image[30:66, 30:66] = 134
    image[47:49, 47:49] = 140
    assert refine.refine(image, reconstruction, square(96, 40, 40, 16), 0).sum() == 0


def test_holes_are_filled_and_specks_dropped_but_never_outside_the_mask() -> None:
    reconstruction = np.full((128, 128, 3), 90, np.uint8)
    ring = square(128, 30, 30, 40) - square(128, 36, 36, 28)
    image = reconstruction + 80 * ring[..., None]
    image[100, 100] = 255
    everywhere = square(128, 2, 2, 124)
    assert iou(refine.refine(image, reconstruction, everywhere, 0), square(128, 30, 30, 40)) > 0.95
    inside = refine.refine(image, reconstruction, ring, 2)
    assert (inside <= refine.dilate(ring, 2)).all()
    assert inside[50, 50] == 0


def test_specks_are_counted_by_component() -> None:
    mask = square(20, 2, 2, 3) | square(20, 10, 10, 2)
    np.testing.assert_array_equal(refine.drop_specks(mask, 5), square(20, 2, 2, 3))


def test_background_error_is_the_mean_outside() -> None:
    source = np.full((8, 8, 3), 100, np.uint8)
    image = source.copy()
    image[:4] = 200
    image[4:, :, 0] = 94
    dilated = np.zeros((8, 8), np.uint8)
    dilated[:4] = 1
    assert refine.background_error(image, source, dilated) == pytest.approx(2.0)
    assert refine.background_error(image, source, np.ones((8, 8), np.uint8)) == 0


@pytest.mark.parametrize(("levels", "seen"), [(3, False), (10, True)])
def test_a_change_that_nobody_sees_is_no_defect(levels: int, seen: bool) -> None:
    source, mask = surface(1, 48)[0] // 2, square(48, 12, 14, 14)
    image = source + (mask[..., None] * np.uint8(levels))
    assert refine.refine(image, source, mask, 2).any() == seen
