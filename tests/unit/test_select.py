"""A covering subset, and how many each group gives."""

from itertools import combinations

import numpy as np
import pytest

from farm.select import shares, spread


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([5, 5, 5], 6, [2, 2, 2]),
        ([5, 5, 5], 7, [3, 2, 2]),
        ([1, 9, 2], 6, [1, 3, 2]),
        ([1, 2], 9, [1, 2]),
        ([4, 0, 4], 3, [2, 0, 1]),
        ([], 3, []),
    ],
)
def test_shares_are_as_even_as_the_sizes_allow(sizes: list[int], count: int, expected: list[int]) -> None:
    assert shares(sizes, count) == expected


def on_a_circle(degrees: list[float]) -> np.ndarray:
    turns = np.deg2rad(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def radius(vectors: np.ndarray, chosen: list[int]) -> float:
    apart = np.linalg.norm(vectors[:, None] - vectors[None, chosen], axis=2)
    return float(apart.min(axis=1).max())


def test_it_begins_with_the_first_and_goes_to_the_farthest() -> None:
    assert spread(on_a_circle([0, 10, 20, 90, 180]), 3).tolist() == [0, 3, 4]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_farther_than_twice_the_best_that_is_possible(seed: int) -> None:
    vectors = on_a_circle(np.random.default_rng(seed).uniform(0, 360, 12).tolist())
    best = min(radius(vectors, list(chosen)) for chosen in combinations(range(12), 4))
    found = spread(vectors, 4).tolist()
    assert len(set(found)) == 4
    assert radius(vectors, found) <= 2 * best + 1e-6


def test_equal_vectors_are_taken_once_before_again() -> None:
    vectors = on_a_circle([0, 0, 0, 120, 120])
    assert spread(vectors, 2).tolist() == [0, 3]
    assert len(set(spread(vectors, 4).tolist())) == 4


def test_all_are_taken_where_there_are_no_more() -> None:
    assert spread(on_a_circle([0, 1]), 5).tolist() == [0, 1]
