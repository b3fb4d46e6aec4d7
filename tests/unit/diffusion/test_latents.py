import numpy as np
import pytest
import torch

from farm.diffusion.latents import blend, latent_mask, row_noise, to_pixels, to_unit


def test_pixels_come_back() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    assert to_unit(every).min() == -1
    assert to_unit(every).max() == 1
    np.testing.assert_array_equal(to_pixels(to_unit(every)), every)


def test_pixels_of_wild_numbers_are_still_pixels() -> None:
    wild = torch.tensor([float("nan"), 9.0, -9.0, 0.0]).reshape(1, 1, 1, 4).expand(1, 3, 1, 4)
    assert to_pixels(wild)[0, 0, 1:3, 0].tolist() == [255, 0]


@pytest.mark.parametrize("factor", [1, 4, 8])
def test_one_pixel_marks_its_cell_and_no_other(factor: int) -> None:
    for y, x in np.ndindex(16, 16):
        mask = np.zeros((1, 16, 16), np.uint8)
        mask[0, y, x] = 1
        cells = latent_mask(mask, factor)
        assert cells.dtype == torch.bool
        assert cells.nonzero().tolist() == [[0, 0, y // factor, x // factor]]


def test_blend_copies_bits() -> None:
    inside, outside = torch.full((1, 2, 1, 2), float("nan")), torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    mixed = blend(outside, inside, torch.tensor([[[[False, True]]]]))
    assert mixed[0, :, 0, 0].tolist() == [1.0, 3.0]
    assert mixed[0, :, 0, 1].isnan().all()


def test_noise_of_a_row_is_its_own() -> None:
    many = row_noise([5, 6, 7], "hole", (4, 3, 3))
    assert many.dtype == torch.float32
    assert torch.equal(row_noise([7, 9, 5], "hole", (4, 3, 3))[[2, 0]], many[[0, 2]])
    assert not torch.equal(row_noise([5], "defect", (4, 3, 3)), many[:1])
    large = row_noise([1], "hole", (100_000,))
    assert abs(float(large.mean())) < 0.01
    assert float(large.std()) == pytest.approx(1, abs=0.01)
