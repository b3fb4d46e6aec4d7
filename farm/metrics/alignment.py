"""How well a generated defect fills the mask that it was asked for (card 005 B).

No two papers share a definition, so there are two numbers, each an IoU with the target mask of every image:

    IoU_diff  with the pixels that changed against the paired normal image (where there is one)
    IoU_seg   with what a segmenter sees that learned from real few-shot photographs of other parts
"""

import numpy as np

from farm.metrics.curves import Floats, Numbers


def mask_iou(one: Numbers, two: Numbers) -> Floats:
    """(..., H, W) twice, non-zero = marked → (...,): area in both over area in any; ``nan`` where nothing is marked.

    Raises ``ValueError`` where the shapes differ.
    """
    one, two = np.asarray(one) != 0, np.asarray(two) != 0
    if one.shape != two.shape:
        raise ValueError(f"masks have shapes {one.shape} and {two.shape}; they must be equal")
    any_ = (one | two).sum(axis=(-2, -1))
    return np.divide((one & two).sum(axis=(-2, -1)), any_, out=np.full(any_.shape, np.nan), where=any_ > 0)


def alignment(ious: Numbers) -> dict[str, float]:
    """``median``, ``p10`` and ``p90`` of the IoUs (N,), and ``below_half``, the share of them below 0.5."""
    if not np.size(ious) or np.isnan(ious).any():
        return dict.fromkeys(("median", "p10", "p90", "below_half"), np.nan)
    low, middle, high = (float(value) for value in np.quantile(ious, (0.1, 0.5, 0.9)))
    return {"median": middle, "p10": low, "p90": high, "below_half": float(np.mean(np.asarray(ious) < 0.5))}
