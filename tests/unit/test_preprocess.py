"""Preprocessing of whole batches against each library's own transform of one picture (open_clip: test_embedders).

The tolerance, on pictures of pure noise, is two levels of 255 at a pixel and a twentieth of one on average.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from transformers import (
    AutoImageProcessor,
    BitImageProcessor,
    CLIPImageProcessor,
    ConvNextImageProcessor,
    EfficientNetImageProcessor,
    SiglipImageProcessor,
    ViTImageProcessor,
)

from farm.embedders import timm_models
from farm.embedders.image_processor import load_preprocessing, preprocessing
from farm.embedders.preprocess import Preprocessing, preprocess
from farm.errors import WeightsError

SIZES = [(48, 48), (75, 61), (33, 121), (20, 27)]  # larger and smaller than the target, oblong both ways, odd rests
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pictures(size: tuple[int, int], count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)


def assert_same(images: np.ndarray, settings: Preprocessing, expected: torch.Tensor) -> None:
    ours = preprocess(torch.from_numpy(images).permute(0, 3, 1, 2), settings)
    assert ours.shape == expected.shape
    levels = (ours - expected).abs() * 255 * torch.tensor(settings.std)[:, None, None]
    assert levels.max() < 2.01
    assert levels.mean() < 0.05


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("crop_pct", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("target", [(32, 32), (40, 24)])
def test_timm(
    target: tuple[int, int], crop_mode: str, interpolation: str, crop_pct: float, size: tuple[int, int]
) -> None:
    config: dict[str, Any] = {
        "input_size": (3, *target),
        "interpolation": interpolation,
        "mean": MEAN,
        "std": STD,
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
    }
    transform = create_transform(**config)
    images = pictures(size)
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    assert_same(images, timm_models.preprocessing(config, "tiny"), expected)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_picture_squashed_far_more_in_height_differs_by_little(interpolation: str) -> None:
    """Pillow from version 13 on resizes it vertically first, torch never: a pixel in five, by at most two levels."""
    config = {"input_size": (3, 24, 40), "interpolation": interpolation, "mean": MEAN, "std": STD}
    config |= {"crop_pct": 1.0, "crop_mode": "squash"}
    y, x = np.mgrid[:96, :61]
    waves = [np.sin(x / 5) + np.cos(y / 7), np.sin((x + y) / 6), np.cos(x * y / 300)]
    image = (127 + 60 * np.stack(waves, axis=-1)).astype(np.uint8)
    expected = create_transform(**config)(Image.fromarray(image))
    ours = preprocess(torch.from_numpy(image).permute(2, 0, 1)[None], timm_models.preprocessing(config, "tiny"))[0]
    levels = (ours - expected).abs() * 255 * torch.tensor(STD)[:, None, None]
    assert levels.max() < 2.01
    assert levels.mean() < 0.25


def test_what_timm_may_want_and_the_farm_cannot_is_said() -> None:
    config = {"input_size": (1, 32, 32), "interpolation": "lanczos", "crop_mode": "center", "crop_pct": 1.0}
    with pytest.raises(WeightsError, match=r"tiny: wants 1 channels, resized 'lanczos' and cropped 'center'; give a"):
        timm_models.preprocessing(config, "tiny")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("backend", ["torchvision", "pil"])
@pytest.mark.parametrize(
    "processor",
    [
        BitImageProcessor(size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32}),
        BitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 28, "width": 31}, resample=2),
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        SiglipImageProcessor(size={"height": 32, "width": 32}),
        ViTImageProcessor(size={"height": 40, "width": 24}),
        ViTImageProcessor(size={"height": 32, "width": 32}, resample=3, do_normalize=False),
        ViTImageProcessor(size={"height": 32, "width": 32}, rescale_factor=1 / 127.5, image_mean=[1, 1, 1]),
    ],
    ids=["dinov2", "dinov2_bilinear", "clip", "siglip", "vit_oblong", "vit_unnormalised", "vit_rescaled"],
)
def test_transformers(processor: Any, backend: str, size: tuple[int, int], tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    library = AutoImageProcessor.from_pretrained(tmp_path, backend=backend)
    assert library.backend == backend
    images = pictures(size)
    expected = library(images=[Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"]
    assert_same(images, load_preprocessing(tmp_path), expected)


@pytest.mark.parametrize(
    ("processor", "text"),
    [
        (ConvNextImageProcessor(size={"shortest_edge": 64}), r"ConvNextImageProcessor: has do_resize True, size .*64"),
        (
            ViTImageProcessor(size={"height": 8, "width": 8}, resample=0),
            r"resample 0, .*; it must resize \(2, bilinear",
        ),
        (ViTImageProcessor(do_resize=False), r"has do_resize False"),
    ],
)
def test_a_processor_that_asks_for_more_is_refused(processor: Any, text: str) -> None:
    with pytest.raises(WeightsError, match=text):
        preprocessing(processor)


def test_a_processor_that_makes_other_pixels_is_refused(tmp_path: Path) -> None:
    EfficientNetImageProcessor(size={"height": 32, "width": 32}, resample=3, rescale_offset=True).save_pretrained(
        tmp_path
    )
    with pytest.raises(
        WeightsError, match=r"EfficientNetImageProcessor makes other pixels of a picture of 67 x 96 than"
    ):
        load_preprocessing(tmp_path)


def test_a_folder_without_a_processor_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"holds no image processor .*copy the whole folder .*preprocessor_config"):
        load_preprocessing(tmp_path)
