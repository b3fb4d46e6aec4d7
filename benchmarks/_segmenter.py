"""A segmenter of real defects, for IoU_seg (card 005 B): learned from the few-shot photographs and normals alone.

It never sees a generated image, and the photographs it learned from are not those it judges. For scale a benchmark
gives what it reaches on the held-out defects: no generated set can be expected to score higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from farm.config import Run, StageConfig
from farm.datasets import Photo, PhotoSet, read_mask, read_photo
from farm.detector.loop import Loop
from farm.detector.model import build_detector
from farm.detector.predict import Detector
from farm.plan import arm_sources

STEPS, BATCH, NORMALS, LEVEL = 300, 8, 64, 0.5
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def learned(run: Run, photos: PhotoSet, seed: int = 0) -> Detector:
    """EfficientNet-Lite0 U-Net after STEPS batches: half few-shot photographs, half normals, flipped at random."""
    shots = [photo for photo in photos.shots if photo.mask_path]
    some = arm_sources(photos.train, NORMALS)
    images = np.concatenate([_read(run, shots), _read(run, some)])
    labels = np.concatenate([_masks(run, shots), np.zeros((len(some), run.size_px, run.size_px), np.uint8)])
    model = build_detector(run.train.detector, seed)
    Loop(model, StageConfig(steps=STEPS, batch_size=BATCH)).run(
        _batch(images, labels, len(shots), np.random.default_rng((seed, step))) for step in range(STEPS)
    )
    return Detector(model)


def found(segmenter: Detector, images: Pixels) -> Pixels:
    """(N, H, W) in {0, 1}: what ``segmenter`` takes for a defect in images (N, H, W, 3)."""
    return (segmenter(images)[0] > LEVEL).astype(np.uint8)


def _batch(images: Pixels, labels: Pixels, shots: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    half = BATCH // 2
    places = np.concatenate([rng.integers(shots, size=half), rng.integers(shots, len(images), size=BATCH - half)])
    image, label = images[places], labels[places]
    for axis in (1, 2):
        turned = rng.integers(2, size=BATCH).astype(bool)
        image[turned], label[turned] = np.flip(image[turned], axis), np.flip(label[turned], axis)
    return image, label


def _read(run: Run, photos: Sequence[Photo]) -> Pixels:
    return np.stack([read_photo(photo, run.size_px, run.data.max_megapixels) for photo in photos])


def _masks(run: Run, photos: Sequence[Photo]) -> Pixels:
    return np.stack([read_mask(photo, run.size_px, run.data.max_megapixels) for photo in photos])
