"""Card 003 section 6: from the part's picture to its mask, and the gates."""

import cv2
import numpy as np
import pytest

from farm.methods.dual_mask import DISAGREE, NO_PART, PART_TOO_LARGE, disagreement, objection, part_mask

SIDE = 96


def drawn(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """A textured blot on noisy grey, (H, W, 3) in [-1, 1], and where it is."""
    rng = np.random.default_rng(0)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, (40, 52), (radius, radius * 2 // 3), 20, 0, 360, 1, -1)
    ground = rng.normal(0, 0.01, (SIDE, SIDE, 3)).astype(np.float32)
    blot = (-0.6 + 0.1 * rng.normal(size=(SIDE, SIDE, 3))).astype(np.float32)
    return np.where(mask[..., None] == 1, blot, ground), mask


# card 003, 7.8
def test_the_mask_of_a_part_on_grey_is_the_part() -> None:
    part, mask = drawn(30)
    found = part_mask(part, 0.08)
    assert (found & mask).sum() / (found | mask).sum() > 0.98
    assert objection(part, part, found, (0.0005, 0.6), 0.25) == ""


# card 003, 7.8
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_grey_alone_is_refused(noise: float) -> None:
    part = np.random.default_rng(0).normal(0, noise, (SIDE, SIDE, 3)).astype(np.float32)
    found = part_mask(part, 0.08)
    assert not found.any()
    assert objection(part, part, found, (0.0005, 0.6), 0.25) == NO_PART


def test_light_and_dark_parts_count_alike() -> None:
    part, _ = drawn(20)
    assert (part_mask(part, 0.08) == part_mask(-part, 0.08)).all()


def test_a_ground_that_is_not_quite_grey_is_still_the_ground() -> None:
    part, _ = drawn(20)
    assert (part_mask(part + np.float32([0.1, -0.2, 0.15]), 0.08) == part_mask(part, 0.08)).mean() > 0.995


def test_what_fills_the_picture_is_no_part() -> None:
    mask = np.ones((SIDE, SIDE), np.uint8)
    mask[:20] = 0
    blank = np.zeros((SIDE, SIDE, 3), np.float32)
    assert objection(blank, blank, mask, (0.0005, 0.6), 0.25) == PART_TOO_LARGE


def test_branches_that_show_different_things_are_refused() -> None:
    part, mask = drawn(20)
    whole = part.copy()
    whole[mask == 0] = 0.9  # another background is what a whole image has
    assert disagreement(whole, part, mask) == 0
    whole[mask == 1] += 0.26
    assert disagreement(whole, part, mask) == pytest.approx(0.26, abs=1e-6)
    assert objection(whole, part, mask, (0.0005, 0.6), 0.25) == DISAGREE
    assert objection(whole, part, mask, (0.0005, 0.6), 0.27) == ""
