"""What ships: the folders load in stock diffusers and open_clip, and hold a model that has learned something."""

import numpy as np
import pytest
import torch

from farm import mini
from farm.errors import WeightsError


def _folder(kind):
    try:
        return mini.weights_dir(kind)
    except WeightsError as error:
        pytest.skip(f"the embedded weights are not in this checkout: {error}")


@pytest.mark.parametrize("kind", ["diffusion", "clip"])
def test_only_safetensors_of_half_precision_and_small_files(kind):
    from safetensors.torch import load_file

    folder = _folder(kind)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path.name for path in files if path.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl"}]
    assert sum(path.stat().st_size for path in files) < 60e6
    for path in folder.rglob("*.safetensors"):
        floats = {value.dtype for value in load_file(path).values() if value.is_floating_point()}
        assert floats == {torch.float16}


def test_stock_diffusers_samples_pictures_that_follow_the_caption():
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(str(_folder("diffusion"))).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    captions = ["a photo of leather", "a photo of grooved steel"]
    images = pipeline(
        captions,
        height=128,
        width=128,
        num_inference_steps=10,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(0) for _ in captions],  # equal noise: only the caption differs
        output_type="np",
    ).images
    assert images.shape == (2, 128, 128, 3)
    grey = images.mean(axis=3)
    assert np.corrcoef(grey[:, :, 1:].ravel(), grey[:, :, :-1].ravel())[0, 1] > 0.5  # white noise: 0
    fine = np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))  # leather is grained, a raceway has broad bands
    assert fine[0] > 1.6 * fine[1]  # a model deaf to its caption: equal


def test_open_clip_loads_the_folder_and_its_tokenizer():
    import open_clip

    where = f"local-dir:{_folder('clip')}"
    model, _, _ = open_clip.create_model_and_transforms(where)
    tokens = open_clip.get_tokenizer(where)(["a photo of wood", "a photo of wood with a hole"])
    with torch.no_grad():
        embedding = torch.nn.functional.normalize(model.encode_text(tokens).float(), dim=-1)
    assert embedding.shape == (2, 256)
    assert float(embedding[0] @ embedding[1]) < 0.999
