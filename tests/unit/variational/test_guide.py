"""The guiding CLIP: it sees what the embedder sees, and passes gradients; cut-outs are what they say."""

import numpy as np
import pytest
import torch

from farm.config import ComputeConfig, EmbedConfig
from farm.diffusion.latents import to_unit
from farm.embedders.openclip import OpenClip
from farm.variational.guide import SMALLEST, Guide, cut_out, draw_boxes, resized
from tests.tiny import surface


@pytest.fixture(scope="module")
def guide() -> Guide:
    return Guide(OpenClip(EmbedConfig(kind="open_clip", model="embedded"), ComputeConfig(batch_size=2)))


def test_it_sees_what_the_embedder_sees_and_leaves_the_towers_alone(guide: Guide) -> None:
    images = surface(2, guide.size[0])
    unit = to_unit(images).requires_grad_(True)
    seen = guide(unit)
    np.testing.assert_allclose(seen.detach().numpy(), guide.embed(images), atol=2e-5)
    (seen @ torch.from_numpy(guide.read(["a clean tile"])[0])).sum().backward()
    assert unit.grad is not None
    assert (unit.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(parameter.grad is None for parameter in guide._model.parameters())


def test_an_image_of_another_size_is_squashed_and_seen_nearly_alike(guide: Guide) -> None:
    images = surface(1, 2 * guide.size[0])
    assert float((guide(to_unit(images)).detach().numpy() @ guide.embed(images).T)[0, 0]) > 0.99


def test_boxes_lie_inside_and_follow_their_generator() -> None:
    boxes = draw_boxes(np.random.default_rng(0), 500)
    side, top, left = boxes.T
    assert SMALLEST <= side.min() < SMALLEST + 0.02
    assert 0.98 < side.max() <= 1
    assert (np.stack([top, left]) >= 0).all()
    assert (np.stack([top, left]) + side <= 1 + 1e-6).all()
    np.testing.assert_array_equal(boxes, draw_boxes(np.random.default_rng(0), 500))


def test_a_cut_out_is_that_part_of_its_own_image() -> None:
    images = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 3, 8, 8)))
    boxes = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [1, 0, 0]], np.float32)
    cuts = cut_out(images, boxes, (8, 8))
    torch.testing.assert_close(cuts[[0, 3]], images)
    halves = cut_out(images, boxes, (4, 4))
    torch.testing.assert_close(halves[1], images[0, :, 4:, :4])
    torch.testing.assert_close(halves[2], images[1, :, :4, 4:])


def test_what_has_the_size_is_not_resized() -> None:
    images = torch.zeros(1, 3, 8, 8)
    assert resized(images, (8, 8)) is images
    assert resized(images, (4, 6)).shape == (1, 3, 4, 6)
