"""The embedder without weights: known answers, one row = many rows, and no torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import load_embedder
from farm.embedders.pixels import WEIGHTS, MeanPixels

ROOT = Path(__file__).resolve().parents[2]


def pictures(count: int = 6, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def plainly(image: np.ndarray) -> np.ndarray:
    """The same by the words of the docstring, with sides that 8 divides."""
    grey = image.astype(float) @ WEIGHTS
    height, width = (side // 8 for side in grey.shape)
    cells = [
        grey[y * height : (y + 1) * height, x * width : (x + 1) * width].mean() for y in range(8) for x in range(8)
    ]
    pattern = np.array(cells) - np.mean(cells)
    return np.asarray(pattern / np.linalg.norm(pattern))


@pytest.mark.parametrize("side", [(64, 64), (32, 96)])
def test_vectors_are_the_pattern_of_light(side: tuple[int, int]) -> None:
    images = pictures(6, *side)
    vectors = MeanPixels()(images)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [plainly(image) for image in images], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("side", [(61, 35), (8, 9), (3, 5)])
def test_sides_that_eight_does_not_divide(side: tuple[int, int]) -> None:
    vectors = MeanPixels()(pictures(4, *side))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_light_on_one_side_points_away_from_light_on_the_other() -> None:
    left = np.zeros((1, 32, 32, 3), np.uint8)
    left[:, :, :16] = 200
    first, second = MeanPixels()(np.concatenate([left, left[:, :, ::-1]]))
    assert first @ second == pytest.approx(-1)


def test_the_level_of_light_does_not_matter() -> None:
    dim = pictures(3) // 4
    np.testing.assert_allclose(MeanPixels()(dim + 50), MeanPixels()(dim), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (61, 35)])
def test_a_flat_photograph_has_the_vector_of_equal_components(size: tuple[int, int]) -> None:
    images = np.stack([np.full((*size, 3), level, np.uint8) for level in (0, 77, 255)])
    np.testing.assert_array_equal(MeanPixels()(images), np.full((3, 64), 0.125, np.float32))


@pytest.mark.parametrize("size", [(64, 64), (61, 35)])
def test_a_row_is_the_same_alone_and_among_others(size: tuple[int, int]) -> None:
    images = pictures(17, *size)
    many = MeanPixels()(images)
    assert all(MeanPixels()(images[row : row + 1]).tobytes() == many[row].tobytes() for row in range(17))
    assert MeanPixels()(images[::-1]).tobytes() == many[::-1].tobytes()


def test_no_rows_give_no_vectors() -> None:
    assert MeanPixels()(pictures(0)).shape == (0, 64)


def test_the_settings_lead_to_it_without_torch() -> None:
    code = (
        "import sys; from farm.config import ComputeConfig, EmbedConfig; from farm.embedders import load_embedder\n"
        "found = load_embedder(EmbedConfig(kind='pixels'), ComputeConfig())\n"
        "print(found.name, found.dim, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["pixels/8x8", "64", "False"]
    assert isinstance(load_embedder(EmbedConfig(kind="pixels"), ComputeConfig()), MeanPixels)


def test_weights_for_it_are_refused() -> None:
    with pytest.raises(ValueError, match="kind 'pixels' has no weights; found model 'ViT-B-32' and pretrained None"):
        EmbedConfig(kind="pixels", model="ViT-B-32")


def test_a_text_margin_is_refused_of_what_reads_no_text() -> None:
    with pytest.raises(
        ValueError, match=r"text_margin needs an embedder that reads text, .*found 'pixels'; leave it out"
    ):
        EmbedConfig(kind="pixels", text_margin=True)
