from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.config import Masks, RulesConfig, Run
from farm.ids import generator
from farm.masks import target_mask
from farm.methods import Made, Request, build_method
from farm.methods.rule_augment import AUGMENTERS, augment_texture, colour_jitter
from farm.methods.rule_recipes import RECIPES, cloned, deep_pixel, draw_nsa, draw_patch, draw_scar
from farm.methods.rules import NO_DEFECT, Rules, kept_inside
from tests.photos import plate

SIZE = 64
ALL = tuple(RECIPES)


def stripes(seed: int, size_px: int) -> np.ndarray:
    """A stand-in for the texture bank: coloured stripes."""
    rng = np.random.default_rng(seed % 2**32)
    return np.repeat(rng.integers(0, 256, (size_px, 1, 3), dtype=np.uint8), size_px, axis=1)


@pytest.fixture
def rules(run: Run) -> Rules:
    return Rules(RulesConfig(), run, texture=stripes)


@pytest.fixture
def run() -> Run:
    return Run.model_validate(
        {
            "name": "r",
            "output": "o",
            "rows": 1,
            "size_px": SIZE,
            "data": {"kind": "textile", "category": "t"},
            "prompts": {"normal": "n", "defects": [{"name": "d", "prompt": "d"}]},
            "methods": [{"kind": "rules"}],
        }
    )


def request(count: int = 10, recipes: tuple[str, ...] = ALL, first: int = 0, **changes: Any) -> Request:
    rows = range(first, first + count)
    fields: dict[str, Any] = {
        "source": np.stack([plate(row, SIZE) for row in rows]),
        "mask": np.stack([target_mask("perlin", row, SIZE, Masks(min_area=0.02, max_area=0.2)) for row in rows]),
        "seed": np.array([row * 7919 for row in rows], np.int64),
        "recipe": tuple(recipes[row % len(recipes)] for row in rows),
        "prompt": ("",) * count,
        "normal_prompt": ("",) * count,
    }
    return Request(**(fields | changes))


def one(whole: Request, row: int) -> Request:
    cut = slice(row, row + 1)
    arrays = {name: getattr(whole, name)[cut] for name in ("source", "mask", "seed", "recipe")}
    return Request(**arrays, prompt=whole.prompt[cut], normal_prompt=whole.normal_prompt[cut])


def hold_label_rule(asked: Request, made: Made) -> None:
    """Card 000: label = mean change above 1/255 inside the mask; elsewhere the source, byte for byte."""
    change = np.abs(made.image.astype(int) - asked.source).mean(axis=-1)
    assert np.array_equal(made.label > 0, (change > 1) & (asked.mask > 0))
    assert np.array_equal(made.image[made.label == 0], asked.source[made.label == 0])
    assert set(np.unique(made.label)) <= {0, 1}


# card 000 7.6
@pytest.mark.parametrize("recipe", ALL)
def test_each_recipe_paints_inside_its_mask(rules: Rules, recipe: str) -> None:
    asked = request(24, (recipe,))
    made = rules(asked)
    hold_label_rule(asked, made)
    assert made.error == ("",) * 24
    assert sum(label.any() for label in made.label) >= 22
    assert made.objection == tuple("" if label.any() else NO_DEFECT for label in made.label)
    assert made.image.dtype == made.label.dtype == np.uint8
    assert made.evaluations.tolist() == made.background_error.tolist() == [0] * 24


# card 000 7.6
@pytest.mark.parametrize("recipe", ALL)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    side=st.sampled_from([32, 40, 96]),
    kind=st.sampled_from(["dot", "corner", "line", "all", "perlin"]),
)
def test_any_mask_is_held(recipe: str, seed: int, side: int, kind: str) -> None:
    mask = np.zeros((side, side), np.uint8)
    if kind == "perlin":
        mask = target_mask("perlin", seed, side, Masks(min_area=0.01))
    place: dict[str, Any] = {"dot": (side // 2, 3), "corner": (0, 0), "line": (-1, slice(None)), "all": (slice(None),)}
    mask[place.get(kind, (0, 0))] = 1
    fields = {"source": plate(seed % 50, side)[None], "mask": mask[None], "seed": np.array([seed]), "recipe": (recipe,)}
    asked = request(1, **fields)
    made = Rules(RulesConfig(), None, texture=stripes)(asked)  # type: ignore[arg-type]
    assert made.error == ("",)
    hold_label_rule(asked, made)


def test_a_row_is_the_same_alone_and_among_others_and_twice(rules: Rules) -> None:
    asked = request(16)
    made, again = rules(asked), rules(asked)
    assert made.image.tobytes() == again.image.tobytes()
    for row in range(16):
        alone = rules(one(asked, row))
        assert alone.image[0].tobytes() == made.image[row].tobytes()
        assert alone.label[0].tobytes() == made.label[row].tobytes()


def test_other_seeds_give_other_images_and_the_source_is_left(rules: Rules) -> None:
    asked = request(10)
    before = asked.source.tobytes(), asked.mask.tobytes()
    made = rules(asked)
    other = rules(request(10, seed=asked.seed + 1))
    assert all(a.tobytes() != b.tobytes() for a, b in zip(made.image, other.image, strict=True))
    assert before == (asked.source.tobytes(), asked.mask.tobytes())


def test_bad_rows_say_so_and_cost_the_others_nothing(run: Run) -> None:
    def broken(seed: int, size_px: int) -> np.ndarray:
        raise ValueError("no texture today")

    asked = request(5, recipe=("scar", "", "melt", "perlin", "noise"))
    asked.mask[4] = 0
    made = Rules(RulesConfig(), run, texture=broken)(asked)
    names = "copy_paste, perlin, scar, noise, poisson"
    assert made.error == (
        "",
        f"recipe '' is not one of this method's: {names}",
        f"recipe 'melt' is not one of this method's: {names}",
        "no texture today",
        "recipe 'noise': the target mask is empty",
    )
    assert made.label[0].any()
    only = Rules(RulesConfig(recipes=("scar",)), run)(asked)
    assert only.error[0] == ""
    assert only.error[3] == "recipe 'perlin' is not one of this method's: scar"


def test_no_change_is_no_defect(rules: Rules) -> None:
    black = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    made = rules(request(3, ("copy_paste", "scar", "poisson"), source=black))
    assert made.objection == (NO_DEFECT,) * 3
    assert not made.label.any()
    assert not made.image.any()
    assert made.error == ("",) * 3


def test_a_change_must_exceed_one_of_255() -> None:
    source = np.full((1, 3, 3), 100, np.uint8)
    proposed = source + np.array([[[1, 1, 1], [2, 1, 1], [0, 0, 90]]], np.uint8)
    image, label = kept_inside(source, proposed, np.array([[1, 1, 0]], np.uint8))
    assert label.tolist() == [[0, 1, 0]]
    assert image[0].tolist() == [[100] * 3, [102, 101, 101], [100] * 3]


def test_the_texture_shows_through_by_beta(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """DRAEM: image = (1 - beta) A + beta I with beta from U(0, 0.8); here A = 0 and I = 255."""
    monkeypatch.setattr("farm.methods.rule_recipes.augment_texture", lambda pixels, _: pixels)
    rules.texture = lambda _, size_px: np.zeros((size_px, size_px, 3), np.uint8)
    asked = request(60, ("perlin",), source=np.full((60, SIZE, SIZE, 3), 255, np.uint8))
    made = rules(asked)
    levels = [np.unique(image[mask > 0]) for image, mask in zip(made.image, asked.mask, strict=True)]
    assert all(len(level) == 1 for level in levels)
    assert 0 <= np.min(levels) <= 15
    assert 190 <= np.max(levels) <= 204


# card 000 7.6
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), size=st.sampled_from([64, 128, 256]))
def test_drawn_constants_are_those_of_the_card(seed: int, size: int) -> None:
    rng = generator(seed, "test")
    rows, columns = draw_patch(rng, size, size)
    assert 0.02 * 0.9 <= rows * columns / size**2 <= 0.15 * 1.1  # whole pixels
    assert 0.3 * 0.85 <= rows / columns <= 3.3 * 1.15
    drawn = draw_scar(rng, size)
    scale = size / 256
    assert 2 <= drawn.width <= max(2, 16 * scale + 0.5)
    assert max(2, 10 * scale - 0.5) <= drawn.length <= 25 * scale + 0.5
    assert -45 <= drawn.angle <= 45
    height, width, factor = draw_nsa(rng, size, size)
    assert 0.1 * size - 1 <= min(height, width)
    assert max(height, width) <= 0.4 * size + 1
    assert 0.7 <= factor <= 1.3


def test_drawn_constants_reach_their_ends() -> None:
    rng = generator(0, "ends")
    areas, aspects = [], []
    for _ in range(2000):
        rows, columns = draw_patch(rng, 1024, 1024)
        areas.append(rows * columns / 1024**2)
        aspects.append(np.log(rows / columns))
    assert min(areas) < 0.021
    assert max(areas) > 0.149
    np.testing.assert_allclose(np.mean(aspects), np.log(0.3 * 3.3) / 2, atol=0.05)  # log-uniform
    scars = [draw_scar(rng, 256) for _ in range(2000)]
    assert {scar.width for scar in scars} == set(range(2, 17))
    assert {scar.length for scar in scars} == set(range(10, 26))
    factors = [draw_nsa(rng, 64, 64)[2] for _ in range(500)]
    assert {0.7, 1.3} <= set(factors)


def test_patches_are_put_deep_into_the_mask() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[2:4, 2:4], mask[10:25, 8:23] = 1, 1  # a speck and a block with its middle at (17, 15)
    found = {deep_pixel(mask, generator(seed, "deep")) for seed in range(50)}
    assert len(found) > 10
    assert all(max(abs(row - 17), abs(column - 15)) <= 4 for row, column in found)


@pytest.mark.parametrize("mode", [cv2.NORMAL_CLONE, cv2.MIXED_CLONE])
@pytest.mark.parametrize("place", [(slice(20, 50), slice(10, 40)), (slice(0, 30), slice(34, 64)), (slice(5, 6),)])
def test_a_blend_has_the_gradients_of_the_patch_and_the_level_of_its_surroundings(mode: int, place: Any) -> None:
    """Perez et al. 2003: a patch that differs by a constant is blended into the very same picture."""
    image = plate(4, SIZE)
    region = np.zeros((SIZE, SIZE), np.uint8)
    region[place] = 1
    brighter = np.where(region[..., None] > 0, image + np.uint8(40), image).astype(np.uint8)
    before = region.copy()
    blended = cloned(brighter, image, region, mode)
    assert np.abs(blended.astype(int) - image).max() <= 3
    assert np.array_equal(region, before)
    other = cloned(plate(5, SIZE), image, region, mode)
    assert np.array_equal(other[region == 0], image[region == 0])
    assert place == (slice(5, 6),) or np.abs(other.astype(int) - image)[region > 0].mean() > 3


@pytest.mark.parametrize("name", list(AUGMENTERS))
def test_every_augmenter_gives_pixels(name: str) -> None:
    pixels = stripes(3, 32)
    results = [AUGMENTERS[name](pixels, generator(seed, name)) for seed in range(8)]
    for result in results:
        assert result.shape == pixels.shape
        assert result.dtype == np.uint8
    assert any(not np.array_equal(result, pixels) for result in results)
    assert np.array_equal(results[0], AUGMENTERS[name](pixels, generator(0, name)))
    flat = np.full((16, 16, 3), 77, np.uint8)
    assert AUGMENTERS[name](flat, generator(1, name)).std(axis=(0, 1)).max() < 1  # flat stays flat


def test_there_are_ten_augmenters_and_three_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(AUGMENTERS) == 10
    used: list[str] = []
    for name in AUGMENTERS:
        monkeypatch.setitem(AUGMENTERS, name, lambda pixels, _, name=name: used.append(name) or pixels)
    for seed in range(40):
        used.clear()
        augment_texture(stripes(0, 8), generator(seed, "three"))
        assert len(set(used)) == len(used) == 3


def test_jitter_is_small() -> None:
    pixels = np.full((4, 4, 3), (120, 100, 80), np.uint8)
    for seed in range(50):
        moved = colour_jitter(pixels, generator(seed, "jitter"))[0, 0].astype(int)
        assert (
            0.89 * 120 - 2 <= moved.max() <= 1.11 * 120 + 2
        )  # brightness by a tenth; contrast and hue keep the maximum


def test_the_method_is_found_by_its_kind(run: Run) -> None:
    built = build_method(RulesConfig(), run)
    assert isinstance(built, Rules)
    assert built.needs_trajectory is False


def test_the_procedural_bank_is_the_default(run: Run) -> None:
    asked = request(2, ("perlin",))
    made = Rules(RulesConfig(), run)(asked)
    hold_label_rule(asked, made)
    assert made.error == ("", "")
    assert all(label.any() for label in made.label)
