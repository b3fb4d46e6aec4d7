"""Scores of parts of images against their definition, written out; what is planted is found."""

import numpy as np
import pytest

from farm.crop_index import CropIndex, PhotoCrops
from farm.ids import generator

DIM, NORMALS, K = 24, 12, 3


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def around(centre, shape, seed, spread=0.3):
    return unit(centre + spread * generator(seed, "around").normal(size=(*shape, DIM)) / np.sqrt(DIM))


STEEL, RUST, NONSENSE = (unit(generator(seed, "centre").normal(size=DIM)) for seed in range(3))


def photographs(shots=8, grid=9):
    return PhotoCrops(around(STEEL, (NORMALS, 8), 1), around(STEEL, (NORMALS, grid), 2), around(RUST, (shots,), 3))


def test_a_defects_score_is_its_nearness_to_normals_or_to_the_nearest_real_defect():
    photos = photographs(grid=0)
    crops = np.concatenate([around(STEEL, (5,), 4), around(RUST, (5,), 5), around(NONSENSE, (5,), 6)])
    found, grid = CropIndex(photos, K).score(crops)
    to_normals = np.sort(crops @ photos.normals.reshape(-1, DIM).T, axis=1)[:, -K:].mean(axis=1)
    to_defects = (crops @ photos.shots.T).max(axis=1)
    np.testing.assert_allclose(found, np.maximum(to_normals, to_defects), atol=1e-5)
    assert found[:10].min() > 0.8
    assert found[10:].max() < 0.6
    assert np.isnan(grid).all()


def test_without_real_defects_only_normals_count():
    found, _ = CropIndex(photographs(shots=0, grid=0), K).score(around(RUST, (5,), 5))
    assert found.max() < 0.6
    assert len(CropIndex(photographs(shots=0, grid=0), K).known_defects()) == 0


def test_a_grids_score_is_its_worst_window_at_that_place():
    photos = photographs()
    rows = np.concatenate([around(RUST, (4, 1), 7), around(STEEL, (4, 9), 8)], axis=1)
    rows[1, 5] = NONSENSE
    rows[2, 5] = 0  # shows the defect: left out
    rows[3, 1:] = 0
    _, grid = CropIndex(photos, K).score(rows.reshape(4, -1))
    places = [np.sort(rows[:3, 1 + place] @ photos.grid[:, place].T, axis=1)[:, -K:].mean(axis=1) for place in range(9)]
    np.testing.assert_allclose(grid[:2], np.min(places, axis=0)[:2], atol=1e-5)
    np.testing.assert_allclose(grid[2], np.min([one for place, one in enumerate(places) if place != 4], axis=0)[2])
    assert grid[1] < 0.6 < min(grid[0], grid[2])
    assert np.isnan(grid[3])


def test_known_scores_leave_the_photograph_itself_out():
    photos = photographs()
    index = CropIndex(photos, K)
    defects, grids = index.known_defects(), index.known_grids()
    cosines = photos.shots @ photos.shots.T
    np.fill_diagonal(cosines, -1)
    to_normals = np.sort(photos.shots @ photos.normals.reshape(-1, DIM).T, axis=1)[:, -K:].mean(axis=1)
    np.testing.assert_allclose(defects, np.maximum(cosines.max(axis=1), to_normals), atol=1e-5)
    assert defects.max() < 1 - 1e-4
    assert len(grids) == NORMALS
    assert grids.max() < 1 - 1e-4
    assert len(CropIndex(photographs(grid=0), K).known_grids()) == 0


@pytest.mark.parametrize("size", [1, 3])
def test_a_row_scores_the_same_alone_and_among_others(size):
    index = CropIndex(photographs(), K)
    rows = around(STEEL, (7, 10), 9).reshape(7, -1)
    together = index.score(rows)
    for start in range(0, 7, size):
        for whole, part in zip(together, index.score(rows[start : start + size]), strict=True):
            assert whole[start : start + size].tobytes() == part.tobytes()
