import numpy as np
import pytest

from farm.mini.recipe import ClipRecipe, LoopRecipe, PoolRecipe, Recipe, UnetRecipe, VaeRecipe


def _pairs(seeds, size_px=128, surface=None):
    """Striped grey plates; a white square is the defect."""
    rng = [np.random.default_rng(int(seed)) for seed in seeds]
    stripes = np.repeat(np.tile(np.repeat([40, 160], 8), size_px // 16)[None, :, None], size_px, 0)
    normal = np.stack([np.repeat(stripes + draw.integers(0, 30), 3, axis=2).astype(np.uint8) for draw in rng])
    image = normal.copy()
    image[:, 8:24, 8:24] = 250
    return {
        "normal": normal,
        "image": image,
        "surface": [surface or "plate"] * len(rng),
        "defect": ["stain"] * len(rng),
        "caption": ["a photo of a plate with a stain"] * len(rng),
        "normal_caption": ["a photo of a plate"] * len(rng),
    }


@pytest.fixture
def render():
    return _pairs


@pytest.fixture
def tiny():
    """A recipe that trains in seconds: 32 px pictures, a few channels."""
    loop = LoopRecipe(steps=30, batch_size=4, lr=3e-3, warmup=3, checkpoint_every=10, bf16=False, ema=0.9)
    return Recipe(
        merges=500,
        pool=PoolRecipe(pairs=6, shard_pairs=4, size_px=32, textile=False),
        vae=VaeRecipe(channels=(12, 48, 48, 48), latent_channels=4, groups=2, crop_px=32, perceptual=0, loop=loop),
        unet=UnetRecipe(
            channels=(16, 16, 32), heads=2, groups=8, text_width=16, text_layers=1, text_heads=2, loop=loop
        ),
        clip=ClipRecipe(text_width=16, text_layers=1, text_heads=2, image_px=32, loop=loop),
    )
