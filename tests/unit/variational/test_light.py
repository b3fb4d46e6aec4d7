"""Light changes stay light."""

import numpy as np

from farm.variational.light import BRIGHTNESS, lightly
from tests.tiny import surface

SIZE = 48


def test_the_same_generator_gives_the_same_changes_and_each_differs() -> None:
    image = surface(1, SIZE)[0]
    first, again = (lightly(image, 4, (), np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (4, SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    assert len({one.tobytes() for one in (image, *first)}) == 5


def test_a_flat_image_changes_in_brightness_alone_and_within_bounds() -> None:
    found = lightly(np.full((SIZE, SIZE, 3), 100, np.uint8), 50, ("horizontal",), np.random.default_rng(0))
    assert (found.max(axis=(1, 2, 3)) == found.min(axis=(1, 2, 3))).all()
    levels = found[:, 0, 0, 0].astype(float)
    assert 100 * (1 - BRIGHTNESS) - 1 < levels.min() < 98
    assert 102 < levels.max() < 100 * (1 + BRIGHTNESS) + 1


def test_only_legal_flips_are_made() -> None:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:12, :12] = 200  # a mark at the top left

    def corners(*flips: str) -> set[str]:
        changed = lightly(image, 40, flips, np.random.default_rng(1))  # type: ignore[arg-type]
        places = {"tl": (4, 4), "tr": (4, -5), "bl": (-5, 4), "br": (-5, -5)}
        return {name for one in changed for name, (y, x) in places.items() if one[y, x, 0] > 100}

    assert corners() == {"tl"}
    assert corners("horizontal") == {"tl", "tr"}
    assert corners("vertical") == {"tl", "bl"}
    assert corners("quarter_turns") == {"tl", "tr", "bl", "br"}
