"""Samples of a training as one picture, for people."""

from collections.abc import Sequence

import numpy as np

from farm.images import Pixels

GAP_PX = 2


def grid(columns: Sequence[Pixels]) -> Pixels:
    """uint8 (N (H + gap), len(columns) (W + gap), 3) of columns (N, H, W, 3): a line for each sample, grey between."""
    gap = ((0, 0), (0, GAP_PX), (0, GAP_PX), (0, 0))
    padded = [np.pad(column, gap, constant_values=128) for column in columns]
    return np.concatenate(np.concatenate(padded, axis=2), axis=0)


def grey(masks: Pixels) -> Pixels:
    """(N, H, W) in {0, 1} as pictures (N, H, W, 3), black and white."""
    return np.repeat(masks[..., None] * np.uint8(255), 3, axis=-1)
