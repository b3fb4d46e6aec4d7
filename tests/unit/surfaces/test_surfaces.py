"""Surfaces: a pair is a function of its seed, and a defect changes the photograph where its mask says."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from farm.errors import ConfigError
from farm.ids import generator
from farm.surfaces import (
    DEFECTS,
    SURFACES,
    Material,
    Pair,
    draw_camera,
    mask_shape,
    photograph,
    render,
    render_batch,
    texture,
)
from farm.surfaces import catalogue as catalogue_module
from farm.surfaces.captions import colour_word, describe
from farm.surfaces.noise import band, blur, fractal, spectral, value, worley

SIZE_PX = 64


def same(first: Pair, second: Pair) -> bool:
    arrays = all(np.array_equal(getattr(first, n), getattr(second, n)) for n in ("normal", "image", "mask"))
    words = all(getattr(first, n) == getattr(second, n) for n in ("surface", "defect", "caption", "normal_caption"))
    return arrays and words


def plate(size_px: int = SIZE_PX, level: float = 0.4) -> Material:
    flat = np.zeros((size_px, size_px), np.float32)
    albedo = np.full((size_px, size_px, 3), level, np.float32)
    return Material(albedo, flat, flat + 0.3, flat == 0, "plate", "a plate", 0.0)


def test_a_seed_gives_the_same_bytes_again() -> None:
    assert all(same(render(seed, SIZE_PX), render(seed, SIZE_PX)) for seed in range(8))
    assert not np.array_equal(render(1, SIZE_PX, "wood").normal, render(2, SIZE_PX, "wood").normal)


def test_a_row_does_not_depend_on_its_batch() -> None:
    batch = render_batch([5, 11, 3], SIZE_PX)
    for row, seed in enumerate([5, 11, 3]):
        alone = render(seed, SIZE_PX)
        for name in ("normal", "image", "mask", "surface", "defect", "caption", "normal_caption"):
            assert np.array_equal(batch[name][row], getattr(alone, name)), name
    assert batch["image"].shape == (3, SIZE_PX, SIZE_PX, 3)
    assert batch["image"].dtype == batch["mask"].dtype == np.uint8


@pytest.mark.parametrize("name", SURFACES)
def test_every_surface_renders_every_defect_that_suits_it(name: str) -> None:
    fitting = [defect for defect, entry in DEFECTS.items() if entry.can_be_on(name)]
    assert fitting
    for defect in fitting:
        pair = render(7, SIZE_PX, name, defect)
        assert pair.surface == name
        assert pair.defect == defect
        assert set(np.unique(pair.mask)) == {0, 1}
        change = cv2.absdiff(pair.image, pair.normal).max(axis=2)
        assert np.percentile(change[pair.mask > 0], 90) >= 10, defect
        assert pair.mask.mean() <= 0.4
        assert pair.normal_caption in pair.caption
        assert any(pair.caption.endswith(f"with {phrase}") for phrase in DEFECTS[defect].phrases)


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("size_px", [64, 96, 257])
def test_a_material_keeps_its_contract_at_any_size(name: str, size_px: int) -> None:
    material = SURFACES[name].make(generator(3, "test"), size_px)
    assert material.albedo.shape == (size_px, size_px, 3)
    assert material.height.shape == material.gloss.shape == material.foreground.shape == (size_px, size_px)
    assert material.albedo.dtype == material.height.dtype == material.gloss.dtype == np.float32
    assert np.isfinite(material.height).all()
    assert material.albedo.min() > 0
    assert material.albedo.max() < 1
    assert 0 <= material.gloss.min() <= material.gloss.max() <= 1
    assert material.family == name
    assert material.foreground.all() != SURFACES[name].is_object
    assert material.albedo.flags.writeable
    assert material.gloss.flags.writeable


@pytest.mark.parametrize("size_px", [64, 128, 512])
def test_pairs_have_the_asked_size(size_px: int) -> None:
    pair = render(2, size_px)
    assert pair.normal.shape == pair.image.shape == (size_px, size_px, 3)
    assert pair.mask.shape == (size_px, size_px)


def test_the_picture_is_the_normal_one_beyond_the_lens_blur() -> None:
    widest = 25  # reach of the softest camera at 128 px, with room
    for seed in range(40):
        pair = render(seed, 128)
        near = cv2.dilate(pair.mask, np.ones((2 * widest + 1, 2 * widest + 1), np.uint8))
        assert np.array_equal(pair.image[near == 0], pair.normal[near == 0])


def test_a_camera_sees_a_change_of_the_maps_within_its_reach_only() -> None:
    for seed in range(30):
        camera = draw_camera(generator(seed, "camera"))
        dented = plate()
        dented.height[30:33, 30:33] -= 3
        dented.albedo[31, 31] = 0.05
        dented.gloss[31, 31] = 1
        change = cv2.absdiff(photograph(plate(), camera, seed), photograph(dented, camera, seed)).max(axis=2)
        reach = camera.reach_px(SIZE_PX)
        outside = np.ones_like(change, bool)
        outside[30 - reach : 33 + reach, 30 - reach : 33 + reach] = False
        assert change.max() > 0
        assert change[outside].max() == 0


def test_light_from_the_left_brightens_slopes_that_face_left() -> None:
    camera = draw_camera(generator(0, "camera"))
    lamp = replace(camera, azimuth_rad=np.pi, elevation_rad=0.7, ambient=0.1, specular=0.0, tilt=(0.0, 0.0))
    lamp = replace(lamp, spot=(0, 0, 1, 0), vignette=0.0, blur=0.0, motion=0.0, shot_noise=0.0, read_noise=0.0)
    ridge = plate()
    ridge.height[:] = -np.abs(np.arange(SIZE_PX) - 31.5)[None, :] * 0.5
    image = photograph(ridge, lamp, 1).astype(int)
    assert image[:, 5:25].mean() > photograph(plate(), lamp, 1).mean() > image[:, 40:60].mean()


def test_without_a_defect_the_picture_is_the_normal_one() -> None:
    for word in (None, "none"):
        pair = render(4, SIZE_PX, "leather", word)
        assert np.array_equal(pair.image, pair.normal)
        assert pair.mask.sum() == 0
        assert pair.defect is None
        assert pair.caption == pair.normal_caption
        assert "leather" in pair.caption


def test_defects_of_an_object_lie_on_the_object() -> None:
    for name in (n for n, entry in SURFACES.items() if entry.is_object):
        for seed in range(4):
            for attempt in range(catalogue_module.TRIES // 3):
                material, shot = catalogue_module._scene(seed, attempt, name, SIZE_PX)
                pair = render(seed, SIZE_PX, name)
                if np.array_equal(shot.take(material), pair.normal):
                    part = cv2.dilate(
                        material.foreground.astype(np.uint8), np.ones((3, 3), np.uint8)
                    )  # with its soft edge
                    assert not np.any(pair.mask[part == 0])
                    break
            else:
                pytest.fail(f"{name}: no scene of seed {seed} is the rendered one")


def test_a_given_defect_draws_a_family_that_it_suits() -> None:
    for seed in range(6):
        assert DEFECTS["mousebite"].can_be_on(render(seed, SIZE_PX, defect="mousebite").surface)


def test_wrong_names_are_told() -> None:
    with pytest.raises(ConfigError, match="surface 'plastic' is unknown; choose from: brushed_metal"):
        render(0, SIZE_PX, "plastic")
    with pytest.raises(ConfigError, match="defect 'gnome' is unknown; choose from: any, none"):
        render(0, SIZE_PX, "wood", "gnome")
    with pytest.raises(ConfigError, match="'mousebite' does not occur on surface 'wood'; it suits: pcb"):
        render(0, SIZE_PX, "wood", "mousebite")


def test_textures_and_mask_shapes_come_from_their_seed() -> None:
    assert np.array_equal(texture(3, SIZE_PX), texture(3, SIZE_PX))
    assert texture(3, SIZE_PX).shape == (SIZE_PX, SIZE_PX, 3)
    foreground = np.zeros((SIZE_PX, SIZE_PX), bool)
    foreground[20:50, 20:50] = True
    mask = mask_shape(9, SIZE_PX, foreground)
    assert np.array_equal(mask, mask_shape(9, SIZE_PX, foreground))
    assert mask.any()
    assert not mask[~foreground].any()


def test_caption_words_are_true_of_the_pixels() -> None:
    assert colour_word(np.full((4, 3), (200, 20, 20), np.uint8)) == "red"
    assert colour_word(np.full((4, 3), (20, 40, 200), np.uint8)) == "blue"
    assert colour_word(np.full((4, 3), 40, np.uint8)) == "dark grey"
    dark, full = np.full((8, 8, 3), 20, np.uint8), np.ones((8, 8), bool)
    told = [describe(generator(seed, "words"), dark, full, "a nut") for seed in range(300)]
    assert any("dark photo" in text for text in told)
    assert not any("bright" in text for text in told)
    assert 0.7 < np.mean([text.startswith("a photo of") for text in told]) < 0.95


def test_noise_is_standard_and_keeps_its_scale() -> None:
    for size_px in (64, 256):
        for draw in (value, fractal, spectral, band):
            field = draw(generator(1, "noise"), size_px, 8)
            assert field.shape == (size_px, size_px)
            assert field.dtype == np.float32
            assert abs(field.mean()) < 1e-3
            assert abs(field.std() - 1) < 1e-3
    near = [np.corrcoef(f[:, :-1].ravel(), f[:, 1:].ravel())[0, 1] for f in (blur(_ring(s), 0) for s in (64, 256))]
    assert near[1] > near[0]  # eight features over more pixels are smoother from pixel to pixel


def _ring(size_px: int) -> np.ndarray:
    return band(generator(2, "noise"), size_px, 8)


def test_worley_distances_equal_brute_force() -> None:
    size_px, cells = 32, 5.0
    first, second, owner = worley(generator(4, "cells"), size_px, cells)
    rng = generator(4, "cells")  # the same draws in the same order
    side = int(np.ceil(cells)) + 4
    points = 0.5 + (rng.random((side, side, 2), np.float32) - 0.5) + np.dstack(np.meshgrid(range(side), range(side)))
    shade, shift = rng.random((side, side), np.float32), rng.random(2, np.float32)
    axis = (np.arange(size_px) + 0.5) / size_px * cells
    x, y = np.meshgrid(axis + shift[0] + 1, axis + shift[1] + 1)
    away = np.hypot(x[..., None] - points[..., 0].ravel(), y[..., None] - points[..., 1].ravel())
    ranked = np.sort(away, axis=-1)
    np.testing.assert_allclose(first, ranked[..., 0], atol=1e-4)
    assert np.mean(np.abs(second - ranked[..., 1]) < 1e-4) > 0.97  # the second may lie beyond the 3 x 3 cells looked at
    assert np.array_equal(owner, shade.ravel()[away.argmin(axis=-1)])
