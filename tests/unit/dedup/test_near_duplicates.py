"""Near-duplicates: exact where it must be, the same for every order, range of cells and number of workers."""

import itertools
from functools import partial

import numpy as np
import pytest

from farm.dedup import Buckets, Cells, Looks, cells_for, near_duplicates, ranks, resolve
from farm.dedup.buckets import NOBODY
from farm.dedup.cells import ONE_CELL
from farm.dedup.hints import hints, upper_bounds
from farm.errors import DataError
from farm.index import SLACK, cosine_pairs


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def scattered(seed: int, count: int, dim: int = 32) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def turned(vectors: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """Each vector turned by the angle of ``cosine`` in a random direction."""
    aside = rng.standard_normal(vectors.shape)
    aside -= (aside * vectors).sum(axis=1, keepdims=True) * vectors
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return unit(cosine * vectors + np.sqrt(1 - cosine**2) * aside)


def planted(seed: int, count: int = 600, dim: int = 32) -> np.ndarray:
    """Chains, clusters and lone vectors, in random order."""
    rng = np.random.default_rng(seed)
    base = scattered(seed, count // 3, dim)
    near = turned(base[: count // 6], 0.97, rng)
    chain = turned(near, 0.96, rng)
    crowd = turned(np.repeat(base[:1], count // 6, axis=0), 0.98, rng)
    vectors = np.concatenate([base, near, chain, crowd])
    return vectors[rng.permutation(len(vectors))]


def one_cell(count: int) -> Looks:
    return Looks(np.arange(count + 1), np.zeros(count, np.int32))


def by_hand(vectors: np.ndarray, threshold: float) -> list[int]:
    """The definition, pair by pair."""
    kept: list[int] = []
    answer = []
    for rank, vector in enumerate(vectors):
        refused_by = next((other for other in kept if cosine_pairs(vector, vectors[other]) >= threshold), -1)
        answer.append(refused_by)
        if refused_by < 0:
            kept.append(rank)
    return answer


@pytest.mark.parametrize("seed", range(4))
def test_with_one_cell_it_is_the_definition(seed: int) -> None:
    vectors = planted(seed)
    found = near_duplicates(vectors, 0.95)
    assert found.tolist() == by_hand(vectors, 0.95)
    assert 100 < (found >= 0).sum() < len(vectors) - 100


def test_a_refused_row_refuses_nobody() -> None:
    first = scattered(0, 1)
    rng = np.random.default_rng(1)
    second = turned(first, 0.96, rng)
    third = turned(second, 0.96, rng)
    assert cosine_pairs(first, third)[0] < 0.95
    assert near_duplicates(np.concatenate([first, second, third]), 0.95).tolist() == [-1, 0, -1]


def test_a_cosine_at_the_threshold_is_told_in_float64() -> None:
    first = scattered(3, 50)
    for pair in zip(first, turned(first, 0.95, np.random.default_rng(3)), strict=True):
        vectors, exact = np.stack(pair), float(cosine_pairs(*pair))
        assert near_duplicates(vectors, exact).tolist() == [-1, 0]
        assert near_duplicates(vectors, float(np.nextafter(exact, 2))).tolist() == [-1, -1]


def test_ranks_fall_with_the_score_and_rise_with_the_row() -> None:
    score, row = np.array([0.5, 0.9, 0.5, 0.7], np.float32), np.array([7, 8, 3, 1])
    assert row[ranks(score, row)].tolist() == [8, 1, 3, 7]


@pytest.mark.parametrize("workers", [1, 2, 4, 7])
def test_the_answer_is_the_same_for_any_number_of_workers(workers: int) -> None:
    vectors = planted(5)
    cells = Cells.trained(vectors, 16, seed=1)
    buckets = Buckets(vectors, cells.looks(vectors, 0.95), 0.95)
    limits = np.linspace(0, len(cells), workers + 1).astype(int)

    def shared(asking: np.ndarray, gone: np.ndarray) -> np.ndarray:
        parts = [buckets.first(asking, gone, low, high) for low, high in itertools.pairwise(limits)]
        return np.minimum.reduce(parts[::-1])

    assert resolve(len(vectors), shared).tolist() == near_duplicates(vectors, 0.95, cells=cells).tolist()


def test_the_answer_is_the_same_for_any_size_of_block(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = planted(6)
    cells = Cells.trained(vectors, 8, seed=1)
    whole = near_duplicates(vectors, 0.95, cells=cells)
    for name, size in (("MEMBERS", 5), ("VISITORS", 7), ("AT_ONCE", 33)):
        monkeypatch.setattr(f"farm.dedup.buckets.{name}", size)
    assert near_duplicates(vectors, 0.95, cells=cells).tolist() == whole.tolist()


@pytest.mark.parametrize("count", [2, 16, 64, 200])
@pytest.mark.parametrize("threshold", [0.9, 0.95, 0.99])
def test_no_cells_make_it_miss_a_pair(count: int, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = planted(7)
    cells = Cells.trained(vectors, count, seed=1)
    exact = by_hand(vectors, threshold)
    assert near_duplicates(vectors, threshold, cells=cells).tolist() == exact
    monkeypatch.setattr("farm.dedup.cells.USUAL", 2)  # most rows need more
    assert near_duplicates(vectors, threshold, cells=cells).tolist() == exact


def test_cells_from_nowhere_find_all_pairs_too() -> None:
    vectors = planted(7)
    cells = Cells(3 * scattered(99, 40))
    assert near_duplicates(vectors, 0.95, cells=cells).tolist() == by_hand(vectors, 0.95)


def test_looking_across_borders_finds_what_one_cell_misses() -> None:
    vectors = planted(8)
    cells = Cells.trained(vectors, 64, seed=1)
    within = near_duplicates(vectors, 0.95, cells=cells, looks=cells.home(vectors))
    assert (within >= 0).sum() < sum(other >= 0 for other in by_hand(vectors, 0.95))


def test_half_precision_is_judged_as_it_is_stored() -> None:
    vectors = planted(9).astype(np.float16)
    assert near_duplicates(vectors, 0.95).tolist() == by_hand(vectors.astype(np.float32), 0.95)


def test_many_copies_of_one_image_take_one_look_each() -> None:
    vectors = np.repeat(scattered(1, 1, 8), 30_000, axis=0)
    cells = Cells(vectors[:1].copy())
    found = near_duplicates(vectors, 0.99, cells=cells)
    assert found[0] == -1
    assert (found[1:] == 0).all()


def test_rows_that_are_gone_refuse_nobody() -> None:
    vectors = np.repeat(scattered(1, 1), 3, axis=0)
    buckets = Buckets(vectors, one_cell(3), 0.9)
    everyone = np.arange(3)
    assert buckets.first(everyone, np.array([False, False, False]), 0, 1).tolist() == [NOBODY, 0, 0]
    assert buckets.first(everyone, np.array([True, False, False]), 0, 1).tolist() == [NOBODY, NOBODY, 1]


def test_nothing_has_no_duplicates() -> None:
    assert near_duplicates(np.zeros((0, 4), np.float32), 0.9).tolist() == []


class TestHints:
    """Long vectors are told apart by a quarter of them first."""

    @pytest.mark.parametrize("dim", [128, 200])
    def test_no_cosine_is_above_its_bound(self, dim: int) -> None:
        vectors = planted(11, 300, dim)
        short = hints(vectors, dim)
        assert short is not None
        assert short.shape == (len(vectors), dim // 4 + 2)
        cosines = vectors.astype(np.float64) @ vectors.T
        bounds = upper_bounds(short, short)
        assert (cosines <= bounds + SLACK).all()
        assert (bounds[cosines < 0.5] < 0.95).mean() > 0.9  # and most far pairs are told to be far

    @pytest.mark.parametrize("few", [0.0, 1.0])
    @pytest.mark.parametrize("seed", [12, 13])
    def test_the_answer_is_the_same_with_them(self, seed: int, few: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("farm.dedup.buckets.FEW", few)  # always all pairs, or always the possible ones
        monkeypatch.setattr("farm.dedup.buckets.PAIRS", 7)
        vectors = planted(seed, 600, 160)
        assert near_duplicates(vectors, 0.95).tolist() == by_hand(vectors, 0.95)

    def test_short_vectors_are_compared_whole(self) -> None:
        assert hints(scattered(1, 5, 64), 64) is None


class TestCells:
    def test_few_cells_are_looked_into(self) -> None:
        groups = np.repeat(scattered(1, 40), 25, axis=0)
        vectors = turned(groups, 0.95, np.random.default_rng(2))
        looks = Cells.trained(vectors, 64, seed=3).looks(vectors, 0.99)
        assert len(looks.cells) < 0.1 * len(looks) * 64

    def test_home_is_the_nearest_and_comes_first(self) -> None:
        vectors = scattered(2, 200)
        cells = Cells.trained(vectors, 32, seed=3)
        apart = np.linalg.norm(vectors[:, None].astype(np.float64) - cells.centroids, axis=2)
        looks = cells.looks(vectors, 0.95)
        assert looks.home.tolist() == apart.argmin(axis=1).tolist()
        assert cells.home(vectors).cells.tolist() == looks.home.tolist()

    def test_equally_near_centroids_are_all_looked_into(self) -> None:
        axes = np.eye(4, dtype=np.float32)[[2, 0, 1, 3]]
        assert sorted(Cells(axes).looks(unit(np.ones((1, 4))), 0.99).cells.tolist()) == [0, 1, 2, 3]

    def test_a_lower_threshold_looks_farther(self) -> None:
        vectors = scattered(3, 300)
        cells = Cells.trained(vectors, 32, seed=3)
        near, far = (cells.looks(vectors, threshold) for threshold in (0.99, 0.9))
        assert (np.diff(far.limits) >= np.diff(near.limits)).all()
        assert len(far.cells) > len(near.cells)

    def test_rows_can_be_taken_and_joined(self) -> None:
        vectors = scattered(4, 50)
        looks = Cells.trained(vectors, 16, seed=3).looks(vectors, 0.95)
        order = np.random.default_rng(0).permutation(50)
        back = Looks.joined([looks.of(order[:20]), looks.of(order[20:])]).of(np.argsort(order))
        assert back.cells.tolist() == looks.cells.tolist()
        assert back.limits.tolist() == looks.limits.tolist()

    def test_the_seed_decides_them(self) -> None:
        vectors = scattered(4, 400)
        first, again, other = (Cells.trained(vectors, 8, seed=seed).centroids for seed in (1, 1, 2))
        assert first.tobytes() == again.tobytes()
        assert first.tobytes() != other.tobytes()

    def test_fewer_vectors_than_cells_are_refused(self) -> None:
        with pytest.raises(DataError, match="8 cells need as many vectors to learn from; found 5"):
            Cells.trained(scattered(1, 5), 8, seed=0)

    def test_a_small_run_has_one_cell_and_a_large_one_about_four_square_roots(self) -> None:
        assert [cells_for(count) for count in (1, ONE_CELL)] == [1, 1]
        assert cells_for(1_000_000) == 4096
        many = [cells_for(count) for count in (ONE_CELL + 1, 100_000, 10_000_000)]
        assert all(2 <= cells <= count for cells, count in zip(many, (2e4, 1e5, 1e7), strict=True))


def test_search_is_asked_only_for_rows_that_hang_on_refused_ones() -> None:
    vectors = planted(10)
    buckets = Buckets(vectors, one_cell(len(vectors)), 0.95)
    asked: list[int] = []

    def counted(asking: np.ndarray, gone: np.ndarray) -> np.ndarray:
        asked.append(len(asking))
        return partial(buckets.first, low=0, high=1)(asking, gone)

    resolve(len(vectors), counted)
    assert asked[0] == len(vectors)
    assert len(asked) < 10
    assert sum(asked[1:]) < len(vectors) / 2
