"""Layers that several detectors share; none of them mixes rows of a batch.

Shape letters: B rows, C channels, h and w height and width of a feature map.
"""

import torch
from torch import nn

DEFECT_PRIOR = 0.02  # share of defect pixels that an untrained head predicts (focal loss, Lin et al. 2017, section 4.1)
_GROUPS = 8


def conv_norm_relu(inputs: int, outputs: int) -> list[nn.Module]:
    """A 3 x 3 convolution, GroupNorm (which, unlike BatchNorm, sees one row alone) and ReLU."""
    groups = _GROUPS if outputs % _GROUPS == 0 else 1
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(groups, outputs), nn.ReLU()]


def start_at_prior(head: nn.Conv2d) -> None:
    """Make an untrained two-way head predict ``DEFECT_PRIOR``: rare defects do not flood the first steps' loss."""
    assert head.bias is not None
    odds = torch.tensor(DEFECT_PRIOR / (1 - DEFECT_PRIOR))
    with torch.no_grad():
        head.bias.copy_(torch.stack([-odds.log() / 2, odds.log() / 2]))
