"""The focal loss against values worked out by hand, and against cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F

from farm.detector.loss import focal_loss


def logits(p_defect: float) -> torch.Tensor:
    """(1, 2, 1, 1) logits that give the probability ``p_defect``."""
    return torch.tensor([0.0, math.log(p_defect / (1 - p_defect))]).reshape(1, 2, 1, 1)


@pytest.mark.parametrize(
    ("p_defect", "label", "expected"),
    [
        (0.5, 1, 0.25 * math.log(2)),
        (0.9, 1, 0.01 * -math.log(0.9)),
        (0.9, 0, 0.81 * -math.log(0.1)),
        (0.2, 0, 0.04 * -math.log(0.8)),
    ],
)
def test_one_pixel(p_defect: float, label: int, expected: float) -> None:
    found = focal_loss(logits(p_defect), torch.full((1, 1, 1), label, dtype=torch.uint8))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_gamma_0_is_cross_entropy() -> None:
    torch.manual_seed(0)
    scores, label = torch.randn(3, 2, 5, 4), torch.randint(0, 2, (3, 5, 4))
    assert focal_loss(scores, label, gamma=0.0).item() == pytest.approx(F.cross_entropy(scores, label).item(), rel=1e-6)


def test_the_whole_is_the_mean_of_its_equal_parts() -> None:
    torch.manual_seed(0)
    scores, label = torch.randn(4, 2, 5, 4), torch.randint(0, 2, (4, 5, 4))
    halves = [focal_loss(scores[part], label[part]).item() for part in (slice(0, 2), slice(2, 4))]
    assert focal_loss(scores, label).item() == pytest.approx(sum(halves) / 2, rel=1e-6)


def test_a_very_wrong_pixel_gives_a_finite_gradient() -> None:
    scores = torch.tensor([60.0, -60.0]).reshape(1, 2, 1, 1).requires_grad_()
    focal_loss(scores, torch.ones(1, 1, 1, dtype=torch.uint8)).backward()
    assert torch.isfinite(scores.grad).all()
    assert scores.grad.abs().sum() > 0.5
