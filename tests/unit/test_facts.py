"""Pixel facts against scikit-image and hand-counted pixels."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from farm.facts import grain, pixel_facts, ssim_map
from farm.ids import generator


def surface(shape, seed=0):
    return generator(seed, "surface").integers(60, 200, shape).astype(np.uint8)


def none(shape):
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize("shape", [(40, 56), (64, 64)])
def test_ssim_map_is_scikit_images(shape):
    first = surface(shape).astype(np.float64)
    second = np.clip(0.6 * first + 0.4 * surface(shape, 1) + 9, 0, 255)
    _, expected = structural_similarity(
        first, second, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    np.testing.assert_allclose(ssim_map(first, second), expected, atol=1e-6)


def test_identical_pair_has_nothing_to_tell():
    source = surface((2, 32, 32, 3))
    facts = pixel_facts(source, source.copy(), none((2, 32, 32)))
    assert list(facts) == ["mean_change", "changed_area", "ssim_outside", "grain"]
    assert all(values.dtype == np.float32 and values.shape == (2,) for values in facts.values())
    np.testing.assert_array_equal(facts["mean_change"], 0)
    np.testing.assert_array_equal(facts["changed_area"], 0)
    np.testing.assert_allclose(facts["ssim_outside"], 1, atol=1e-6)


def test_change_and_area_are_counted_by_hand():
    source = np.full((1, 20, 20, 3), 100, np.uint8)
    image, mask = source.copy(), none((1, 20, 20))
    image[0, 2:6, 3:8] = 90  # 20 pixels by 10 levels
    image[0, 10, 10] = (101, 101, 101)  # a mean change of exactly one level is not visible
    image[0, 11, 11] = (104, 100, 100)  # a mean change of 4/3 is
    facts = pixel_facts(source, image, mask)
    assert facts["mean_change"][0] == pytest.approx((20 * 10 + 1 + 4 / 3) / 400, rel=1e-6)
    assert facts["changed_area"][0] == pytest.approx(21 / 400)


def test_grain_is_noise_and_not_structure():
    flat = np.full((32, 32, 3), 100, np.uint8)
    everywhere = np.ones((32, 32), bool)
    specks, bars, noise = flat.copy(), flat.copy(), flat.copy()
    specks[4::8, 4::8] = 180  # 16 lone pixels
    bars[:, 8:16] = 180  # edges, but no lone pixel
    noise[:] = generator(0, "noise").integers(0, 256, noise.shape)
    assert grain(flat, everywhere) == grain(bars, everywhere) == 0
    assert grain(specks, everywhere) == pytest.approx(16 * 80 / 1024)
    assert grain(specks, specks[..., 0] == 180) == 80
    assert grain(noise, everywhere) > 50
    assert grain(noise, ~everywhere) == 0


def test_grain_of_a_row_is_that_of_its_changed_pixels():
    source = np.full((1, 32, 32, 3), 100, np.uint8)
    image = source.copy()
    image[0, 8:24, 8:24] = generator(0, "noise").integers(0, 256, (16, 16, 3))
    changed = np.abs(image[0].astype(int) - 100).mean(axis=2) > 1
    assert pixel_facts(source, image, none((1, 32, 32)))["grain"][0] == pytest.approx(grain(image[0], changed))
    assert pixel_facts(source, source, none((1, 32, 32)))["grain"][0] == 0


def test_darker_and_brighter_count_alike():
    source = np.full((2, 8, 8, 3), 100, np.uint8)
    image = source.copy()
    image[0] -= 60
    image[1] += 60
    np.testing.assert_array_equal(pixel_facts(source, image, none((2, 8, 8)))["mean_change"], [60, 60])


def test_similarity_is_measured_outside_the_mask_only():
    source = surface((1, 64, 64, 3))
    mask = none((1, 64, 64))
    mask[0, 20:40, 20:40] = 1
    inside, outside = source.copy(), source.copy()
    inside[mask == 1] = 0
    outside[0, 50:, :] = 0
    assert pixel_facts(source, inside, mask)["ssim_outside"][0] == pytest.approx(1, abs=1e-6)
    assert pixel_facts(source, inside, none((1, 64, 64)))["ssim_outside"][0] < 0.95
    assert pixel_facts(source, outside, mask)["ssim_outside"][0] < 0.85


@pytest.mark.parametrize("beside", [(20, 23), (17, 20)])
def test_the_outside_is_further_than_the_dilation_from_the_mask(beside):
    source, mask = surface((1, 40, 40, 3)), none((1, 40, 40))
    mask[0, 20, 20] = 1
    image = source.copy()
    image[0, *beside] = 255  # 3 pixels beside the mask: the window of 11 reaches 5 further
    assert pixel_facts(source, image, mask, dilate_px=8)["ssim_outside"][0] == pytest.approx(1, abs=1e-6)
    assert pixel_facts(source, image, mask, dilate_px=7)["ssim_outside"][0] < 1 - 1e-6


def test_a_mask_over_everything_leaves_nothing_to_compare():
    source = surface((1, 16, 16, 3))
    facts = pixel_facts(source, 255 - source, np.ones((1, 16, 16), np.uint8))
    assert facts["ssim_outside"][0] == 1


def test_a_row_is_the_same_alone_and_in_company():
    source, image = surface((5, 24, 32, 3)), surface((5, 24, 32, 3), 1)
    mask = none((5, 24, 32))
    mask[:, 4:9, 4:9] = 1
    together = pixel_facts(source, image, mask)
    alone = pixel_facts(source[3:4], image[3:4], mask[3:4])
    for name, values in together.items():
        assert values[3:4].tobytes() == alone[name].tobytes()
    assert {len(values) for values in pixel_facts(source[:0], image[:0], mask[:0]).values()} == {0}
