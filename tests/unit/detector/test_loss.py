"""Losses against values worked out by hand, against cross-entropy, and against the pixel facts' SSIM."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from farm import facts
from farm.detector.loss import detector_loss, focal_loss, image_loss, reconstruction_loss, ssim_map
from farm.detector.outputs import Outputs


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


def test_ssim_is_that_of_the_pixel_facts_away_from_the_border() -> None:
    rng = np.random.default_rng(0)
    first = rng.random((24, 30))
    second = np.clip(first + rng.normal(0, 0.1, first.shape), 0, 1)
    found = ssim_map(torch.tensor(first)[None, None], torch.tensor(second)[None, None])[0, 0].numpy()
    inside = (slice(5, -5), slice(5, -5))
    assert found[inside] == pytest.approx(facts.ssim_map(first * 255, second * 255)[inside], rel=1e-6)


def test_a_perfect_reconstruction_costs_nothing_and_a_mean_grey_one_what_the_formulas_say() -> None:
    wanted = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert reconstruction_loss(wanted, wanted).item() == pytest.approx(0.0, abs=1e-5)
    grey = torch.full_like(wanted, 0.5)
    expected = (wanted - 0.5).square().mean() + 1 - ssim_map(grey, wanted).mean()
    assert reconstruction_loss(grey, wanted).item() == pytest.approx(expected.item())
    assert 0.9 < reconstruction_loss(grey, wanted).item() < 1.2


def test_the_image_head_learns_whether_any_pixel_is_a_defect() -> None:
    label = torch.zeros(2, 4, 4, dtype=torch.uint8)
    label[1, 2, 3] = 1
    found = image_loss(torch.tensor([0.0, math.log(3)]), label)
    assert found.item() == pytest.approx((math.log(2) - math.log(0.75)) / 2)


def everything(rows: int) -> tuple[Outputs, torch.Tensor, torch.Tensor]:
    """Outputs of a network that has every part, a label and sources."""
    draw = torch.Generator().manual_seed(rows)
    outputs = Outputs(
        torch.randn(rows, 2, 24, 24, generator=draw),
        torch.randn(rows, generator=draw),
        torch.rand(rows, 3, 24, 24, generator=draw),
    )
    label = (torch.rand(rows, 24, 24, generator=draw) > 0.999).to(torch.uint8)
    return outputs, label, torch.rand(rows, 3, 24, 24, generator=draw) * 255


def test_the_loss_is_the_sum_over_what_the_network_gives_and_the_mean_over_equal_parts() -> None:
    found, label, source = everything(4)
    whole = detector_loss(found, label, source)
    parts = [focal_loss(found[0], label), image_loss(found[1], label), reconstruction_loss(found[2], source / 255)]
    assert whole.item() == pytest.approx(sum(part.item() for part in parts), rel=1e-6)
    assert detector_loss(Outputs(found[0]), label).item() == pytest.approx(parts[0].item())
    halves = [
        detector_loss(Outputs(*(part[rows] for part in found)), label[rows], source[rows]).item()
        for rows in (slice(0, 2), slice(2, 4))
    ]
    assert whole.item() == pytest.approx(sum(halves) / 2, rel=1e-6)
