"""PatchCore and the Gaussian against brute force, and what they find on plates with a spot."""

import numpy as np
import pytest

from farm.metrics import auroc
from farm.one_class import LEAST_SHARE, Encoder, Gaussian, PatchCore, Views, coreset, shrunk_covariance
from tests.photos import plate

SIZE = 64


@pytest.fixture(scope="module")
def see() -> Encoder:
    return Encoder(SIZE)


@pytest.fixture(scope="module")
def normals() -> np.ndarray:
    return np.stack([plate(seed, SIZE) for seed in range(6)])


def views(count: int, patches: int, seed: int = 0) -> Views:
    rng = np.random.default_rng(seed)
    return Views(
        rng.normal(0, 1, (count, patches, 5)).astype(np.float32), rng.normal(0, 1, (count, 4)).astype(np.float32)
    )


def brute(patches: np.ndarray, bank: np.ndarray) -> float:
    return float(np.linalg.norm(patches[:, None] - bank[None], axis=2).min(axis=1).max())


def test_an_image_scores_as_its_patch_farthest_from_the_bank() -> None:
    normals, others = views(4, 9), views(3, 9, seed=1)
    found = PatchCore(lambda images: others).fit_views(normals).scores_of(others)
    bank = normals.patches.reshape(-1, 5)
    np.testing.assert_allclose(found, [brute(patches, bank) for patches in others.patches], rtol=1e-4)


def test_left_out_is_a_detector_that_never_saw_the_image() -> None:
    normals = views(4, 9)
    found = PatchCore(lambda images: normals).fit_views(normals).left_out(normals)
    for row in range(4):
        bank = np.delete(normals.patches, row, axis=0).reshape(-1, 5)
        assert found[row] == pytest.approx(brute(normals.patches[row], bank), rel=1e-4)


def test_a_coreset_covers_better_than_chance_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 1, (500, 8)), rng.normal(20, 0.1, (3, 8))]).astype(np.float32)
    kept = coreset(points, 20, seed=0)
    np.testing.assert_array_equal(kept, coreset(points, 20, seed=0))
    assert len(kept) == len(set(kept.tolist())) == 20
    assert (kept >= 500).any()  # the far cluster, 3 of 503 points
    chance = np.array([brute(points, points[rng.permutation(503)[:20]]) for _ in range(10)])
    assert brute(points, points[kept]) < np.median(chance) / 5
    np.testing.assert_array_equal(coreset(points[:10], 20, seed=0), np.arange(10))


def test_the_shrunk_covariance_is_that_of_ledoit_and_wolf() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for count in (2, 5, 60):
        x = rng.normal(2, [1, 3, 0.2, 1], (count, 4)) @ rng.normal(0, 1, (4, 4))
        s = np.cov(x.T, bias=True)
        level = np.trace(s) / 4 * np.eye(4)
        outer = [np.outer(row, row) for row in x - x.mean(axis=0)]
        noise = np.mean([np.square(one - s).sum() for one in outer]) / count
        shares.append(min(1.0, max(LEAST_SHARE, noise / np.square(s - level).sum())))
        np.testing.assert_allclose(shrunk_covariance(x), shares[-1] * level + (1 - shares[-1]) * s, rtol=1e-9)
        assert np.isfinite(np.linalg.inv(shrunk_covariance(x))).all()
    assert LEAST_SHARE == shares[0] < shares[2] < shares[1]
    np.testing.assert_array_equal(shrunk_covariance(np.ones((1, 4))), np.eye(4))
    np.testing.assert_array_equal(shrunk_covariance(np.full((3, 4), 0.1)), np.eye(4))


def test_the_gaussian_is_the_mahalanobis_distance_and_euclidean_for_one() -> None:
    normals, others = views(30, 1), views(3, 1, seed=1)
    found = Gaussian(lambda images: others).fit_views(normals).scores_of(others)
    x = normals.means.astype(np.float64)
    inverse = np.linalg.inv(shrunk_covariance(x))
    apart = others.means - x.mean(axis=0)
    np.testing.assert_allclose(found, np.sqrt(np.einsum("bd,de,be->b", apart, inverse, apart)), rtol=1e-6)
    alone = Gaussian(lambda images: others).fit_views(normals.of(slice(0, 1))).scores_of(others)
    np.testing.assert_allclose(alone, np.linalg.norm(others.means - normals.means[0], axis=1), rtol=1e-6)


def test_a_row_depends_on_its_image_alone(see: Encoder, normals: np.ndarray) -> None:
    whole = see(normals)
    for rows in ([2], [5, 2, 0], [2, 2, 2, 2, 1]):
        found = see(normals[rows])
        np.testing.assert_array_equal(found.patches, whole.patches[rows])
        np.testing.assert_array_equal(found.means, whole.means[rows])
    assert whole.patches.shape == (6, 64, 152)
    assert whole.means.shape == (6, 472)
    detector = PatchCore(see).fit(normals)
    np.testing.assert_array_equal(detector.scores(normals)[[4]], detector.scores(normals[[4]]))


@pytest.mark.parametrize("kind", [PatchCore, Gaussian])
def test_a_spot_is_found(see: Encoder, normals: np.ndarray, kind: type[PatchCore] | type[Gaussian]) -> None:
    good = np.stack([plate(seed, SIZE) for seed in range(20, 28)])
    bad = good.copy()
    bad[:, 24:36, 24:36] //= 3
    scores = kind(see).fit(normals).scores(np.concatenate([good, bad]))
    assert auroc(scores, np.repeat([0, 1], 8)) > 0.95


def test_a_map_is_high_where_the_spot_is(see: Encoder, normals: np.ndarray) -> None:
    spotted = plate(99, SIZE)[None].copy()
    spotted[0, 40:56, 8:24] = 250
    maps, scores = PatchCore(see).fit(normals).maps(np.concatenate([spotted, plate(99, SIZE)[None]]))
    assert maps.shape == (2, SIZE, SIZE)
    assert maps.dtype == scores.dtype == np.float32
    assert maps[0, 40:56, 8:24].mean() > 1.5 * maps[0, :32, 32:].mean()
    np.testing.assert_allclose(
        scores, PatchCore(see).fit(normals).scores(np.concatenate([spotted, plate(99, SIZE)[None]]))
    )
    assert scores[0] > scores[1]
