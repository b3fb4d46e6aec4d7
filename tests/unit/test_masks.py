import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.config import Masks
from farm.errors import ConfigError, DataError
from farm.ids import generator
from farm.masks import foreground, perlin, perlin_noise, target_mask

SIZE = 64


def ellipse(size: int = SIZE, axes: tuple[int, int] = (12, 5)) -> np.ndarray:
    return cv2.ellipse(np.zeros((size, size), np.uint8), (size // 2, size // 2), axes, 20, 0, 360, 1, -1)


def disc(radius: int, size: int = SIZE) -> np.ndarray:
    return cv2.circle(np.zeros((size, size), np.uint8), (size // 2, size // 3), radius, 1, -1) > 0


@pytest.mark.parametrize("kind", ["perlin", "procedural", "real"])
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    low=st.sampled_from([0.0, 0.002, 0.02]),
    high=st.sampled_from([0.03, 0.1, 0.5]),
    radius=st.sampled_from([0, 9, 20]),
)
def test_masks_are_inside_the_part_and_of_the_size_asked_for(
    kind: str, seed: int, low: float, high: float, radius: int
) -> None:
    part = disc(radius) if radius else np.ones((SIZE, SIZE), bool)
    mask = target_mask(kind, seed, SIZE, Masks(min_area=low, max_area=high), part, [ellipse(), ellipse(40)])
    assert mask.shape == (SIZE, SIZE)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    assert max(1, low * SIZE**2) <= mask.sum() <= high * SIZE**2
    assert not mask[~part].any()


@pytest.mark.parametrize("kind", ["perlin", "procedural", "real"])
def test_a_mask_is_a_function_of_its_seed(kind: str) -> None:
    one, two = (
        [target_mask(kind, seed, SIZE, Masks(), None, [ellipse()]) for seed in seeds]
        for seeds in (range(8), range(7, -1, -1))
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, two[::-1], strict=True))
    assert len({mask.tobytes() for mask in one}) == 8


@pytest.mark.parametrize("kind", ["perlin", "procedural", "real"])
def test_a_part_too_small_for_the_least_area_is_masked_whole(kind: str) -> None:
    part = np.zeros((SIZE, SIZE), bool)
    part[3:5, 3:5] = True
    mask = target_mask(kind, 1, SIZE, Masks(min_area=0.1, max_area=0.2), part, [ellipse()])
    assert np.array_equal(mask > 0, part)


@pytest.mark.parametrize("part", [None, np.zeros((SIZE, SIZE), bool)])
def test_without_a_part_a_mask_may_be_anywhere(part: np.ndarray | None) -> None:
    reached = sum(target_mask("procedural", seed, SIZE, Masks(), part) for seed in range(60))
    assert all(quarter.any() for half in np.split(reached, 2) for quarter in np.split(half, 2, axis=1))


def test_a_real_mask_keeps_its_form() -> None:
    shot = ellipse(axes=(14, 4))
    for seed in range(20):
        mask = target_mask("real", seed, SIZE, Masks(max_area=0.5), None, [shot])
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        assert len(outlines) == 1
        assert 0.9 * 0.85**2 * 0.85 <= mask.sum() / shot.sum() <= 1.15**2 * 1.1


def test_a_real_mask_that_is_too_large_is_scaled_down() -> None:
    mask = target_mask("real", 3, SIZE, Masks(max_area=0.05), None, [disc(30).astype(np.uint8)])
    assert 0.02 <= mask.mean() <= 0.05


def test_wrong_kinds_are_errors() -> None:
    with pytest.raises(DataError, match="mask kind 'real': there is no few-shot mask to copy; remove 'real'"):
        target_mask("real", 0, SIZE, Masks(), None, [np.zeros((SIZE, SIZE), np.uint8)])
    with pytest.raises(ConfigError, match="mask kind 'star' is not known; use perlin, procedural or real"):
        target_mask("star", 0, SIZE, Masks())


def slow_perlin(angles: np.ndarray, size: int, rows: int, columns: int) -> np.ndarray:
    """Perlin noise pixel by pixel, as in the definition."""
    out = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            y, x = i * rows / size, j * columns / size
            top, left = int(y), int(x)
            v, u = y - top, x - left
            dots = {}
            for down in (0, 1):
                for right in (0, 1):
                    angle = angles[top + down, left + right]
                    dots[down, right] = np.cos(angle) * (u - right) + np.sin(angle) * (v - down)
            fade_u, fade_v = (6 * t**5 - 15 * t**4 + 10 * t**3 for t in (u, v))
            upper = dots[0, 0] * (1 - fade_u) + dots[0, 1] * fade_u
            lower = dots[1, 0] * (1 - fade_u) + dots[1, 1] * fade_u
            out[i, j] = np.sqrt(2) * (upper * (1 - fade_v) + lower * fade_v)
    return out


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 2), (3, 8), (32, 1)])
def test_perlin_noise_is_that_of_the_definition(rows: int, columns: int) -> None:
    fast = perlin_noise(generator(5, "noise"), 24, rows, columns)
    angles = generator(5, "noise").uniform(0, 2 * np.pi, (rows + 1, columns + 1))
    np.testing.assert_allclose(fast, slow_perlin(angles, 24, rows, columns), atol=1e-5)


def test_the_areas_of_perlin_masks_are_frozen_by_their_seeds() -> None:
    areas = [float(perlin(generator(seed, "p"), 128).mean()) for seed in range(200)]
    np.testing.assert_allclose(np.quantile(areas, [0.25, 0.5, 0.75, 1]), [0.0343, 0.0425, 0.0531, 0.3358], atol=2e-4)


def test_a_texture_is_all_foreground() -> None:
    rng = np.random.default_rng(0)
    for image in (
        rng.integers(0, 256, (96, 96, 3), dtype=np.uint8),
        np.full((96, 96, 3), 90, np.uint8),
        np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[None, :, None], 96, axis=0).repeat(3, axis=2),
    ):
        assert foreground(image).all()


@pytest.mark.parametrize("background", [20, 240])
@pytest.mark.parametrize("falloff", [0, 40])
def test_an_object_is_found_on_a_plain_background(background: int, falloff: int) -> None:
    rng = np.random.default_rng(1)
    image = np.full((96, 96, 3), float(background)) + rng.normal(0, 4, (96, 96, 3))
    image -= np.linspace(-falloff / 2, falloff / 2, 96)[:, None, None]
    thing = disc(25, 96)
    image[thing] = rng.normal((130, 90, 60), 10, (thing.sum(), 3))
    found = foreground(np.clip(image, 0, 255).astype(np.uint8))
    assert (found & thing).sum() / (found | thing).sum() > 0.9


def test_light_that_swells_towards_the_middle_is_no_object() -> None:
    rows, columns = np.indices((96, 96)) - 47.5
    light = 60 + 130 * np.clip(1 - np.hypot(rows, columns) / 46, 0, 1)
    assert foreground(np.repeat(light[..., None], 3, axis=2).astype(np.uint8)).all()


def test_what_crosses_the_edge_is_no_object() -> None:
    image = np.full((96, 96, 3), 230, np.uint8)
    image[:, 40:50] = 10
    assert foreground(image).all()
