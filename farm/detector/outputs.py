"""What a detector's network gives, and what is read from it: maps and image scores.

Shape letters: B rows, H height, W width.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

SCORE_WINDOW = 21  # card 005: image score = max over AvgPool 21x21, stride 1, zero-padded, of the defect channel


class Outputs(NamedTuple):
    """Every network gives the first; the others are None where it has no such part."""

    pixel_logits: Tensor  # (B, 2, H, W): normal, defect
    image_logit: Tensor | None = None  # (B,): "the image shows a defect"
    reconstruction: Tensor | None = None  # (B, 3, H, W) in [0, 1], about: the image without its defect


def anomaly_maps(logits_B2HW: Tensor) -> Tensor:
    """Probability of a defect in each pixel, (B, H, W) in [0, 1]."""
    return logits_B2HW.float().softmax(dim=1)[:, 1]


def image_scores(maps_BHW: Tensor) -> Tensor:
    """One score an image, (B,): max over the 21 x 21 zero-padded moving average of its map (card 005, section A)."""
    smooth = F.avg_pool2d(maps_BHW[:, None], SCORE_WINDOW, stride=1, padding=SCORE_WINDOW // 2)
    return smooth.flatten(1).amax(dim=1)


def read_outputs(found: Outputs) -> tuple[Tensor, Tensor]:
    """Maps (B, H, W) and scores (B,), both in [0, 1], higher = more defective.

    Where there is an image head, the score is the plain mean of its probability and of the map's score: it rises with
    both, and no weight is chosen on any data.
    """
    maps_BHW = anomaly_maps(found.pixel_logits)
    scores_B = image_scores(maps_BHW)
    if found.image_logit is not None:
        scores_B = (scores_B + found.image_logit.float().sigmoid()) / 2
    return maps_BHW, scores_B
