"""The score by which the best image is chosen."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from farm.variational import gaussian
from farm.variational.judge import Judge, target

IMAGES = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (50, 100, 200)])


class Levels:
    """Vectors (cos, sin) of the mean level."""

    name, dim = "levels", 2

    def __call__(self, images: np.ndarray) -> np.ndarray:
        angles = images.mean((1, 2, 3)) / 255
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


class Reading(Levels):
    def texts(self, sentences: Sequence[str]) -> np.ndarray:
        return np.array([[0, 1] if sentence == "bright" else [1, 0] for sentence in sentences], np.float32)


def test_a_tower_with_text_compares_with_the_prompt_and_one_without_with_the_mean_of_the_normals() -> None:
    np.testing.assert_array_equal(target(Reading(), "bright", IMAGES), [0, 1])
    mean = Levels()(IMAGES).mean(axis=0)
    np.testing.assert_allclose(target(Levels(), "bright", IMAGES), mean / np.linalg.norm(mean), atol=1e-6)


def test_the_score_is_cosine_less_beta_times_the_distance_of_latents() -> None:
    z = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    z[2] = 5 + 3 * z[2]
    pooled = gaussian.pooled(z[:2])
    found = Judge(Levels(), np.array([1, 0], np.float32), pooled, beta=0.5)(IMAGES, z)
    values = z.numpy().astype(np.float64)
    m_r, s_r = values[:2].mean((0, 2, 3)), values[:2].std((0, 2, 3), ddof=1)
    for row, level in enumerate((50, 100, 200)):
        m, s = values[row].mean((1, 2)), values[row].std((1, 2), ddof=1)
        apart = np.sqrt((np.square(m - m_r) + np.square(s - s_r)).sum() / 2)
        assert found[row] == pytest.approx(np.cos(level / 255) - 0.5 * apart, abs=1e-5)
    assert found.argmin() == 2


def test_a_latent_that_is_no_number_has_no_score() -> None:
    z = torch.zeros(3, 2, 4, 4)
    z[1, 0, 0, 0] = torch.nan
    judge = Judge(Levels(), np.array([1, 0], np.float32), gaussian.pooled(torch.ones(1, 2, 4, 4)), beta=0.1)
    assert np.isfinite(judge(IMAGES, z)).tolist() == [True, False, True]
