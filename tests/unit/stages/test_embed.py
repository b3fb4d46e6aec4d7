"""What an embedder adds to rows: whole images, crops around defects, grids, and nearness to texts."""

import numpy as np
import pytest

from farm.attempts import Blame
from farm.config import EmbedConfig
from farm.crops import cut, defect_window, grid_windows, shows
from farm.embedders.pixels import MeanPixels
from farm.ids import generator
from farm.images import encode_mask, encode_png
from farm.rows import EMBEDDINGS, check
from farm.stages.embed import Embed
from farm.stages.hands import Free

SIZE = 32


class Reads(MeanPixels):
    """Reads text too: "bright" is a white image, anything else a black-to-white slope."""

    def __init__(self):
        self.asked = []

    def texts(self, sentences):
        self.asked += sentences
        slope = np.tile(np.linspace(0, 255, SIZE).astype(np.uint8)[:, None, None], (1, SIZE, 3))
        plain = np.full((SIZE, SIZE, 3), 255, np.uint8)
        return self(np.stack([plain if text == "bright" else slope for text in sentences]))


def rows(count=5):
    """Noise with a marked square; row 3 is failed."""
    random = generator(0, "rows")
    images = random.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)
    labels = np.zeros((count, SIZE, SIZE), np.uint8)
    labels[:, 2:8, 20:26] = 1
    pngs = {"image_png": list(map(encode_png, images)), "label_png": list(map(encode_mask, labels))}
    columns = {name: np.array([*values, None], object)[:-1] for name, values in pngs.items()}
    texts = {"sample_id": "a", "status": "made", "error": "", "prompt": "bright", "normal_prompt": "slope"}
    columns |= {name: np.array([text] * count, object) for name, text in texts.items()}
    columns["row"] = np.arange(count)
    columns["image_png"][3] = columns["label_png"][3] = b""
    columns["status"][3] = "failed"
    return columns, images, labels


@pytest.mark.parametrize(("crops", "windows"), [("none", 0), ("defect", 1), ("grid", 10)])
def test_crops_are_the_vectors_of_what_is_cut_out(crops, windows):
    columns, images, labels = rows()
    embedder = MeanPixels()
    made = Embed(embedder, EmbedConfig(kind="pixels", crops=crops)).rows(columns, 2)
    check(made, EMBEDDINGS, "test")
    assert made["crops"].shape == (5, windows * embedder.dim)
    assert not made["embedding"][3].any()
    assert not made["crops"][3].any()
    np.testing.assert_array_equal(made["embedding"][:3], embedder(images[:3]))
    assert np.isnan(made["text_margin"][:3]).all()
    if windows:
        wanted = embedder(cut(images[1], [defect_window(labels[1])]))[0]
        np.testing.assert_array_equal(made["crops"][1, : embedder.dim], wanted)
    if windows > 1:
        grid = made["crops"][1].reshape(10, -1)[1:]
        for vector, window in zip(grid, grid_windows((SIZE, SIZE)), strict=True):
            assert vector.any() != shows(labels[1], window)
            np.testing.assert_array_equal(
                vector, 0 if shows(labels[1], window) else embedder(cut(images[1], [window]))[0]
            )
        assert 0 < sum(vector.any() for vector in grid) < 9


def test_a_text_margin_is_the_cosine_to_the_prompt_less_that_to_the_normal_one():
    columns, images, _ = rows()
    embedder = Reads()
    made = Embed(embedder, EmbedConfig(kind="open_clip", model="embedded", text_margin=True)).rows(columns, 2)
    assert sorted(embedder.asked) == ["bright", "slope"], "each text is read once"
    bright, slope = embedder.texts(["bright", "slope"])
    vectors = embedder(images)
    np.testing.assert_allclose(made["text_margin"][0], vectors[0] @ bright - vectors[0] @ slope, atol=1e-6)
    assert made["text_margin"][3] == 0


@pytest.mark.parametrize("size", [1, 2, 5])
def test_rows_embedded_alone_or_together_are_byte_equal(size):
    stage = Embed(MeanPixels(), EmbedConfig(kind="pixels", crops="grid"))
    wanted, found = stage.rows(rows()[0], 5), stage.rows(rows()[0], size)
    assert {name: values.tobytes() for name, values in wanted.items()} == {
        name: values.tobytes() for name, values in found.items()
    }


def test_a_poisoned_row_loses_its_pictures_and_keeps_zeros():
    columns, _, _ = rows()
    hands = Free()
    hands.blame = Blame(poisoned=frozenset({1}))
    made = Embed(MeanPixels(), EmbedConfig(kind="pixels", crops="defect")).rows(columns, 2, hands)
    assert columns["status"].tolist() == ["made", "poisoned", "made", "failed", "made"]
    assert columns["image_png"][1] == b""
    assert not made["embedding"][1].any()
    assert not made["crops"][1].any()
