"""Networks: shapes, frozen statistics, rows that depend on themselves alone, and the image score of card 005."""

import numpy as np
import pytest
import torch

from farm.config import DetectorConfig
from farm.detector.layers import DEFECT_PRIOR
from farm.detector.model import build_detector
from farm.detector.outputs import Outputs, anomaly_maps, image_scores, read_outputs
from farm.detector.predict import Detector
from farm.metrics import image_score

KINDS = ("efficientnet_unet", "fpn", "unet", "draem")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (72, 104)])
def test_logits_have_the_size_of_the_image(kind: str, size: tuple[int, int]) -> None:
    model = build_detector(DetectorConfig(kind=kind, width=4)).eval()
    with torch.inference_mode():
        found = model(torch.rand(2, 3, *size) * 255)
    assert found.pixel_logits.shape == (2, 2, *size)
    assert (found.reconstruction is not None) == DetectorConfig(kind=kind).reconstructs


def test_new_layers_come_from_the_seed_alone() -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    one, same, other = (build_detector(DetectorConfig(width=4), seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_the_encoder_keeps_its_statistics_while_it_learns() -> None:
    model = build_detector(DetectorConfig(width=4)).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    model(torch.rand(2, 3, 64, 64) * 255)
    assert model.head.training
    assert not any(module.training for module in model.encoder.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_an_untrained_head_expects_few_defects() -> None:
    model = build_detector(DetectorConfig(width=8)).eval()
    with torch.inference_mode():
        maps = anomaly_maps(model(torch.rand(2, 3, 64, 64) * 255).pixel_logits)
    assert maps.median().item() < 5 * DEFECT_PRIOR


def test_image_score_is_the_largest_zero_padded_window_mean() -> None:
    maps = torch.zeros(2, 40, 40)
    maps[0, 0, 0] = 1.0
    maps[1, 10:31, 10:31] = 0.5
    assert image_scores(maps).tolist() == pytest.approx([1 / 441, 0.5])
    random = torch.rand(3, 40, 30, generator=torch.Generator().manual_seed(0))
    assert image_scores(random).numpy() == pytest.approx(image_score(random.numpy()), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_same_in_any_batch(kind: str) -> None:
    detector = Detector(build_detector(DetectorConfig(kind=kind, width=4)), batch_size=4)
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    maps, scores = detector(images)
    assert maps.dtype == scores.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    for row in range(5):
        alone, score = detector(images[row : row + 1])
        assert np.array_equal(alone[0], maps[row])
        assert score[0] == scores[row]


def test_an_image_head_and_the_map_have_equal_say_in_the_score() -> None:
    logits = torch.zeros(2, 2, 40, 40)
    image_logit = torch.tensor([0.0, 20.0])
    alone = read_outputs(Outputs(logits))[1]
    assert alone.tolist() == pytest.approx([0.5, 0.5])
    assert read_outputs(Outputs(logits, image_logit))[1].tolist() == pytest.approx([0.5, 0.75])


def test_draem_has_the_published_channels_and_its_second_loss_reaches_the_first_network() -> None:
    model = build_detector(DetectorConfig(kind="draem", width=4))
    assert model.reconstruct.down[0][0].out_channels == 8
    assert model.reconstruct.down[4][0].out_channels == 64
    assert model.discriminate.down[0][0].in_channels == 6
    found = model(torch.rand(2, 3, 64, 64) * 255)
    found.pixel_logits.sum().backward()
    assert model.reconstruct.down[0][0].weight.grad.abs().sum() > 0
