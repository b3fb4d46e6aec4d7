import numpy as np
import pytest
import torch

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import load_backbone
from farm.diffusion.ddim import sample as denoise
from farm.diffusion.latents import row_noise, to_pixels
from farm.mini.sampling import sample
from tests.tiny import tiny_backbone_folder

CAPTIONS, SEEDS = ["wood", "leather", "wood", "glass", "a hole"], [3, 1, 4, 1, 5]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tiny_backbone_folder(tmp_path_factory.mktemp("tiny"))
    return load_backbone(ModelConfig(path=str(folder)), ComputeConfig())


def make(backbone, captions, seeds, **settings):
    return sample(backbone, captions, seeds, **{"steps": 3, "size_px": 64, "batch_size": 4, **settings})


def test_a_row_is_the_same_bytes_in_any_company_and_number(backbone):
    whole = make(backbone, CAPTIONS, SEEDS)
    assert whole.shape == (5, 64, 64, 3)
    assert whole.dtype == np.uint8
    for row in range(5):
        np.testing.assert_array_equal(make(backbone, CAPTIONS[row : row + 1], SEEDS[row : row + 1])[0], whole[row])
    order = [4, 0, 2]
    found = make(backbone, [CAPTIONS[row] for row in order], [SEEDS[row] for row in order])
    np.testing.assert_array_equal(found, whole[order])


def test_caption_seed_and_negative_matter_each(backbone):
    plain = make(backbone, ["wood"], [1])
    assert not np.array_equal(make(backbone, ["glass"], [1]), plain)
    assert not np.array_equal(make(backbone, ["wood"], [2]), plain)
    assert not np.array_equal(make(backbone, ["wood"], [1], negative="glass"), plain)


def test_guidance_is_that_of_the_paper(backbone):
    """One network call a text, put together by hand."""
    under, without = (backbone.embed_prompts([text]) for text in ("wood", "glass"))

    def predict(z, level):
        a, b = (backbone.predict(z, level.time, text) for text in (without, under))
        return a + 2.5 * (b - a)

    with torch.no_grad():
        z = denoise(predict, row_noise([7], "sample", (4, 8, 8)), backbone.schedule.levels(3))
        wanted = to_pixels(backbone.decode(z)).astype(int)
    found = make(backbone, ["wood"], [7], guidance=2.5, negative="glass")
    assert np.abs(found - wanted).max() <= 1


def test_guidance_1_asks_the_network_once(backbone, monkeypatch):
    seen = []
    forward = backbone.unet.forward

    def spy(z, *args, **kwargs):
        seen.append(len(z))
        return forward(z, *args, **kwargs)

    monkeypatch.setattr(backbone.unet, "forward", spy)
    alone = make(backbone, ["wood"], [1], guidance=1.0)
    same = make(backbone, ["wood"], [1], guidance=3.0, negative="wood")
    assert seen == [4] * 3 + [8] * 3
    assert np.abs(alone.astype(int) - same).max() <= 1


def test_what_does_not_fit_is_refused(backbone):
    with pytest.raises(ValueError, match="2 captions but 1 seeds"):
        make(backbone, ["wood", "glass"], [1])
    with pytest.raises(ValueError, match="multiple of the backbone's factor 8"):
        make(backbone, ["wood"], [1], size_px=60)


def test_no_caption_gives_no_picture(backbone):
    assert make(backbone, [], []).shape == (0, 64, 64, 3)
