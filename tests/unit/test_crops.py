"""Windows: inside the photograph, around the defect; the grid covers everything; what is cut out is what is there."""

import numpy as np
import pytest

from farm.crops import WINDOWS, cut, defect_window, grid_windows, reference_windows, row_windows, shows
from farm.ids import generator


def marked(top, left, height, width, shape=(64, 64)):
    label = np.zeros(shape, np.uint8)
    label[top : top + height, left : left + width] = 1
    return label


@pytest.mark.parametrize("shape", [(64, 64), (48, 96), (33, 47)])
def test_all_windows_are_square_and_inside(shape):
    random = generator(0, "windows")
    labels = [marked(*random.integers(0, min(shape) - 1, 2), *random.integers(1, 20, 2), shape) for _ in range(50)]
    windows = [defect_window(label) for label in labels] + grid_windows(shape) + reference_windows(shape)
    for top, left, side in windows:
        assert 0 <= top <= shape[0] - side
        assert 0 <= left <= shape[1] - side
        assert side >= min(shape) // 4


@pytest.mark.parametrize(
    ("label", "window"),
    [
        (marked(30, 20, 10, 4), (25, 12, 20)),  # twice as wide as the box, about its middle
        (marked(30, 30, 1, 1), (22, 22, 16)),  # never below a quarter
        (marked(0, 60, 10, 4), (0, 44, 20)),  # moved inside
        (marked(5, 5, 40, 40), (0, 0, 64)),  # never larger than the photograph
        (marked(0, 0, 0, 0), (0, 0, 64)),  # nothing is marked: all of it
    ],
)
def test_the_window_of_a_defect(label, window):
    assert defect_window(label) == window


@pytest.mark.parametrize("shape", [(64, 64), (48, 96)])
def test_the_grid_covers_a_square_photograph_and_the_ends_of_a_long_one(shape):
    covered = np.zeros(shape, int)
    for top, left, side in grid_windows(shape):
        covered[top : top + side, left : left + side] += 1
    assert len(grid_windows(shape)) == 9
    assert {int(covered[place]) for place in ((0, 0), (0, -1), (-1, 0), (-1, -1))} == {1}
    assert shape[0] != shape[1] or covered.min() >= 1


@pytest.mark.parametrize("crops", ["none", "defect", "grid"])
def test_an_image_has_as_many_windows_as_its_rows_have_room_for(crops):
    label = marked(3, 3, 5, 5)
    windows = row_windows(label, crops)
    assert len(windows) == WINDOWS[crops]
    assert windows[:1] == ([] if crops == "none" else [defect_window(label)])


def test_what_is_cut_out_is_what_is_there():
    image = generator(0, "image").integers(0, 256, (64, 64, 3)).astype(np.uint8)
    made = cut(image, [(0, 0, 64), (16, 32, 32), (16, 32, 32)])
    assert made.shape == (3, 64, 64, 3)
    assert np.array_equal(made[0], image)
    assert np.array_equal(made[1], made[2])
    assert abs(made[1].mean() - image[16:48, 32:64].mean()) < 2
    assert cut(image, []).shape == (0, 64, 64, 3)


def test_a_window_shows_a_defect_from_its_first_pixel_on():
    label = marked(10, 10, 1, 1)
    assert shows(label, (10, 10, 5))
    assert shows(label, (6, 6, 5))
    assert not shows(label, (11, 10, 5))
    assert not shows(label, (5, 5, 5))
