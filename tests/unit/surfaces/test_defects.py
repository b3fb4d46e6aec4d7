from functools import lru_cache

import numpy as np
import pytest

from farm.ids import generator
from farm.surfaces.defects import DEFECTS, Defect, base, brush, circuit, draw_mask, shapes
from farm.surfaces.defects.masks import OUTLINES, mask_shape
from farm.surfaces.material import Material
from farm.surfaces.table import SURFACES

SUITED = [(name, family) for name, entry in DEFECTS.items() for family in SURFACES if entry.can_be_on(family)]
PROMISED = {
    *("scratch", "crack", "dent", "pit", "stain", "rust", "hole", "contamination", "broken_edge", "print_smear"),
    *("missing_part", "discoloration", "weave_fault", "open", "short", "spur", "mousebite", "spurious_copper"),
    *("blowhole", "fray"),
}


@lru_cache(maxsize=128)
def _made(family: str, size_px: int, seed: int = 0) -> Material:
    return SURFACES[family].make(generator(seed, f"surface {family}"), size_px)


def _applied(name: str, family: str, size_px: int, seed: int = 1) -> tuple[Material, Material, np.ndarray]:
    before = _made(family, size_px)
    after = before.copy()
    return before, after, DEFECTS[name].apply(after, generator(seed, name))


def _changed(before: Material, after: Material) -> np.ndarray:
    return (
        np.any(before.albedo != after.albedo, axis=2) | (before.height != after.height) | (before.gloss != after.gloss)
    )


def _grown(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    side = len(mask)
    return np.any([padded[i : i + side, j : j + side] for i in range(3) for j in range(3)], axis=0)


def _check(name: str, before: Material, after: Material, support: np.ndarray) -> None:
    assert support.dtype == np.uint8
    assert support.shape == before.height.shape
    assert set(np.unique(support)) == {0, 1}
    changed = _changed(before, after)
    assert not np.any(changed & (support == 0)), "maps changed outside the support"
    assert changed[support > 0].mean() > 0.7, "the support says more than was changed"
    allowed = _grown(before.foreground) if name in ("broken_edge", "missing_part") else before.foreground
    assert not np.any((support > 0) & ~allowed)
    assert np.array_equal(before.foreground, after.foreground)
    least = base.LEAST_SHARE / 2 if name == "pinhole" else base.LEAST_SHARE  # tracks can be too thin for more
    assert least <= support.mean() <= base.MOST_SHARE
    for field, top in ((after.albedo, 1.0), (after.gloss, 1.0), (after.height, np.inf)):
        assert field.dtype == np.float32
        assert np.isfinite(field).all()
        assert field.max() <= top
    assert min(after.albedo.min(), after.gloss.min()) >= 0


def test_every_promised_defect_is_there() -> None:
    assert set(DEFECTS) >= PROMISED
    assert all(entry.name == name and entry.phrases for name, entry in DEFECTS.items())
    named = {family for entry in DEFECTS.values() for family in entry.suits or ()}
    assert named <= set(SURFACES)
    for family in SURFACES:
        assert sum(entry.can_be_on(family) for entry in DEFECTS.values()) >= 5


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_keeps_its_promise_on_every_family_it_suits(name: str) -> None:
    for family in (family for defect, family in SUITED if defect == name):
        _check(name, *_applied(name, family, 64))


@pytest.mark.parametrize("size_px", [128, 256])
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_keeps_its_promise_at_other_sizes(name: str, size_px: int) -> None:
    families = [family for defect, family in SUITED if defect == name]
    for family in {families[0], families[-1]}:
        _check(name, *_applied(name, family, size_px))


@pytest.mark.parametrize("name", DEFECTS)
def test_a_seed_alone_decides_a_defect(name: str) -> None:
    family = next(family for defect, family in SUITED if defect == name)
    _, first, support = _applied(name, family, 64)
    _, again, support_again = _applied(name, family, 64)
    _, _, other = _applied(name, family, 64, seed=2)
    assert np.array_equal(support, support_again)
    for field in ("albedo", "height", "gloss"):
        assert np.array_equal(getattr(first, field), getattr(again, field))
    assert not np.array_equal(support, other)


def test_most_defects_are_small_and_some_are_not() -> None:
    names = ("scratch", "crack", "dent", "stain", "contamination", "discoloration")
    shares = [_applied(name, "cast_metal", 64, seed)[2].mean() for name in names for seed in range(20)]
    assert 0.004 < np.median(shares) < 0.05
    assert np.quantile(shares, 0.95) < 0.16
    assert max(shares) > 0.05


def test_exact_undoes_what_is_beyond_reach_or_unseen() -> None:
    def paint(material: Material, _: np.random.Generator) -> np.ndarray:
        material.albedo[2:9, 2:9] += 0.3  # within reach
        material.albedo[4, 20] += 0.3  # beyond
        material.height[12:16, 2:9] += base.SEEN_HEIGHT / 2  # too faint
        reach = np.zeros(material.height.shape, bool)
        reach[:18, :18] = True
        return reach

    before = _plain()
    before.foreground[:, :4] = False
    after = before.copy()
    support = base.exact(paint)(after, generator(0, "paint"))
    wanted = np.zeros((32, 32), np.uint8)
    wanted[2:9, 4:9] = 1
    assert np.array_equal(support, wanted)
    assert np.array_equal(_changed(before, after), wanted > 0)


def test_a_painter_that_changes_nothing_is_named() -> None:
    def nothing(material: Material, _: np.random.Generator) -> np.ndarray:
        return np.ones(material.height.shape, bool)

    with pytest.raises(RuntimeError, match="nothing changed nothing on family 'plain' in 12 draws"):
        base.exact(nothing)(_plain(), generator(0, "paint"))


def _plain(size_px: int = 32) -> Material:
    shape = (size_px, size_px)
    albedo = np.full((*shape, 3), 0.4, np.float32)
    return Material(
        albedo, np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, bool), "plain", "", 0
    )


def _tracks() -> Material:
    """Two tracks of copper across a white board: rows 20-27 and 36-43 of 64."""
    material = _plain(64)
    material.albedo[:] = 0.9
    material.albedo[20:28] = material.albedo[36:44] = 0.02
    material.family = "pcb_mono"
    return material


def _nets(material: Material) -> int:
    return int(circuit.cv2.connectedComponents(circuit.copper_of(material).astype(np.uint8))[0]) - 1


@pytest.mark.parametrize(
    ("name", "grows"),
    [("short", 1), ("spur", 1), ("spurious_copper", 1), ("open", 0), ("mousebite", 0), ("pinhole", 0)],
)
def test_copper_is_gained_or_lost_as_the_name_says(name: str, grows: int) -> None:
    for seed in range(12):
        material = _tracks()
        had = circuit.copper_of(material)
        DEFECTS[name].apply(material, generator(seed, name))
        has = circuit.copper_of(material)
        assert np.any(has & ~had) == bool(grows)
        assert np.any(had & ~has) == (not grows)


def test_opens_and_shorts_change_the_nets() -> None:
    counts: dict[str, list[int]] = {"open": [], "short": [], "spurious_copper": []}
    for name, found in counts.items():
        for seed in range(16):
            material = _tracks()
            DEFECTS[name].apply(material, generator(seed, name))
            found.append(_nets(material))
    assert np.mean(np.array(counts["open"]) == 3) > 0.9
    assert np.mean(np.array(counts["short"]) == 1) > 0.4  # the rest join a track to the image border
    assert min(counts["spurious_copper"]) >= 2


def test_background_fills_in_mirrored() -> None:
    material = _plain()
    material.albedo[:] = np.linspace(0, 1, 32, dtype=np.float32)[None, :, None]
    material.foreground[:, :16] = False
    filled = brush.background_fill(material)
    assert filled is not None
    assert np.allclose(filled[8, 16:28, 0], material.albedo[8, 12:0:-1, 0])
    assert brush.background_fill(_plain()) is None


def test_a_ribbon_covers_its_length_times_its_width() -> None:
    path = np.stack([np.linspace(0.2, 0.8, 9), np.full(9, 0.503)], axis=1)
    for size_px in (64, 128, 300):
        for width in (0.008, 0.05):
            cover = shapes.ribbon(size_px, path, width)
            assert cover.sum() / size_px**2 == pytest.approx(0.6 * width, rel=0.35)
            assert 0 <= cover.min() <= cover.max() <= 1


def test_blobs_and_discs_have_the_area_they_are_asked_for() -> None:
    round_blob = shapes.blob(generator(0, "blob"), 128, (0.5, 0.5), 0.2, stretch=2, rough=0)
    assert round_blob.mean() == pytest.approx(np.pi * 0.04, rel=0.03)
    disc = shapes.discs(128, np.array([[0.4, 0.6]]), np.array([0.1]))
    assert disc.mean() == pytest.approx(np.pi * 0.01, rel=0.03)
    rows, columns = np.nonzero(disc > 0.5)
    assert ((columns.mean() + 0.5) / 128, (rows.mean() + 0.5) / 128) == pytest.approx((0.4, 0.6), abs=0.01)


@pytest.mark.parametrize("size_px", [64, 128, 256])
def test_masks_are_binary_of_the_stated_size_and_differ(size_px: int) -> None:
    drawn = [mask_shape(generator(seed, "mask"), size_px) for seed in range(60)]
    assert all(mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1} for mask in drawn)
    shares = np.array([mask.mean() for mask in drawn])
    assert shares.min() >= 0.001
    assert shares.max() <= 0.2
    assert shares.max() / shares.min() > 15
    assert len({mask.tobytes() for mask in drawn}) == 60
    assert np.array_equal(drawn[7], mask_shape(generator(7, "mask"), size_px))


def test_every_outline_can_be_drawn() -> None:
    for frequency, outline in OUTLINES.values():
        assert frequency > 0
        covers = [outline(generator(seed, "outline"), 64, (0.5, 0.5)) for seed in range(5)]
        assert max((cover > 0.5).mean() for cover in covers) > 0.001


def test_masks_stay_on_the_foreground() -> None:
    part = np.zeros((64, 64), bool)
    part[40:60, 5:30] = True
    speck = np.zeros((64, 64), bool)
    speck[3, 7:9] = True
    for seed in range(40):
        mask = draw_mask(generator(seed, "mask"), 64, part)
        assert mask.any()
        assert not np.any((mask > 0) & ~part)
    assert np.array_equal(draw_mask(generator(0, "mask"), 64, speck) > 0, speck)
    with pytest.raises(ValueError, match="the foreground is empty"):
        mask_shape(generator(0, "mask"), 64, np.zeros((64, 64), bool))


def test_phrases_come_from_the_list() -> None:
    entry = Defect("crack", ("a crack", "cracks"), frozenset({"wood"}), DEFECTS["crack"].apply)
    assert {entry.phrase(generator(seed, "words")) for seed in range(20)} == {"a crack", "cracks"}
    assert entry.can_be_on("wood")
    assert not entry.can_be_on("glass")
