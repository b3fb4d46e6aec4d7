"""Card 002 section 4.1: which prompt is chosen."""

from collections.abc import Sequence

import numpy as np
import pytest

from farm.errors import ConfigError
from farm.ids import generator
from farm.variational.prompts import choose, keyword_of, prompts
from farm.variational.words import BLOCKED, library

D = 6


def unit(seed: int, purpose: str) -> np.ndarray:
    vector = generator(seed, purpose).standard_normal(D)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def read(texts: Sequence[str]) -> np.ndarray:
    return np.stack([unit(0, text) for text in texts])


# card 002, 7.1
@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_brute_force_argmax_whatever_the_order(seed: int) -> None:
    images = np.stack([unit(seed, f"image {row}") for row in range(3)])
    words = library("metal nut")
    best = max(
        sorted(words),
        key=lambda word: float(np.mean([unit(0, f"a metal nut with {word}") @ image for image in images])),
    )
    found = choose("metal nut", words, images, read)
    assert found.prompt == f"a metal nut with {best}"
    assert found.cosine == pytest.approx(float((images @ found.vector).mean()), abs=1e-6)
    shuffled = np.random.default_rng(seed).permutation(np.array(words)).tolist()
    assert choose("metal nut", shuffled, images, read).prompt == found.prompt


# card 002, 7.1: the blocked words would win by far
def test_a_blocked_word_is_never_chosen() -> None:
    image = unit(1, "image")

    def biased(texts: Sequence[str]) -> np.ndarray:
        return np.stack([image if text.split()[-1] in BLOCKED else -image for text in texts])

    found = choose("tile", ["cracked", "clean", *sorted(BLOCKED)], image[None], biased)
    assert found.prompt == "a tile with clean"
    with pytest.raises(ConfigError, match="no word that may stand beside 'tile'; all of those given are of damage"):
        choose("tile", ["cracked", "Dirty edges"], image[None], biased)


def test_a_tie_goes_to_the_first_text() -> None:
    image = unit(1, "image")
    for words in (["smooth", "even", "clean"], ["clean", "smooth", "even"]):
        assert choose("tile", words, image[None], lambda texts: np.stack([image] * len(texts))).prompt == (
            "a tile with clean"
        )


def test_prompts_are_sorted_and_each_once() -> None:
    assert prompts("tile", ["new", "clean", "new", "broken"]) == ("a tile with clean", "a tile with new")


def test_the_keyword_is_the_category_without_damage_or_what_is_given() -> None:
    assert keyword_of("magnetic_tile", None) == "magnetic tile"
    assert keyword_of("bsdata_pitting", "ball  screw") == "ball screw"
    with pytest.raises(ConfigError, match="category 'cracks' names no product; set keyword"):
        keyword_of("cracks", None)
    with pytest.raises(
        ConfigError, match=r"keyword 'cracked tile' has a word of damage.*name the product alone.*'tile'"
    ):
        keyword_of("tile", "cracked tile")
