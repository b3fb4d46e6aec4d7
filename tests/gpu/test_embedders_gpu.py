"""On a GPU: half precision turns a vector by no more than is stated, and rows keep their bytes at equal batch shape.

Asked for by ``pytest tests/gpu``; without a GPU each test is an error.
"""

import numpy as np
import pytest
import torch

from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import Embedder, load_embedder
from tests.towers import save_timm, save_transformers

pytestmark = pytest.mark.gpu
LEAST_COSINE = 0.999  # of a vector in half precision to that in float32 on the CPU


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.fail("asked for the tests of a GPU, but torch finds none; leave tests/gpu out on this machine")


@pytest.fixture(scope="module", params=["timm", "dinov2", "embedded", "efficientnet_lite0"])
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EmbedConfig:
    folder = tmp_path_factory.mktemp("towers")
    if request.param == "timm":
        return EmbedConfig(kind="timm", model=str(save_timm(folder)))
    if request.param == "dinov2":
        return EmbedConfig(kind="transformers", model=str(save_transformers(folder, "dinov2")))
    return EmbedConfig(kind="open_clip", model="embedded") if request.param == "embedded" else EmbedConfig()


def on_gpu(config: EmbedConfig, dtype: str) -> Embedder:
    return load_embedder(config, ComputeConfig.model_validate({"device": "cuda", "dtype": dtype, "batch_size": 4}))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_precision_turns_a_vector_by_little(config: EmbedConfig, dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    expected = load_embedder(config, ComputeConfig(batch_size=4))(images)
    assert (on_gpu(config, dtype)(images) * expected).sum(axis=1).min() >= LEAST_COSINE


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_row_is_the_same_bytes_alone_and_in_company(config: EmbedConfig, dtype: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    embedder = on_gpu(config, dtype)
    together = embedder(images)
    assert np.concatenate([embedder(image[None]) for image in images]).tobytes() == together.tobytes()
    assert embedder(images[::-1].copy()).tobytes() == together[::-1].tobytes()
