"""Embedders over timm and transformers: the library's own vectors, one row = many rows, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModel, BertConfig, BertModel

from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import Embedder, load_embedder
from farm.errors import WeightsError
from tests.towers import LAYERS, save_tensors, save_timm, save_transformers

COMPUTE = ComputeConfig(batch_size=4)
LEAST_COSINE = 0.999  # of a vector in half precision to that in float32
TRANSFORMERS = ["dinov2", "vit", "vit_without_pooler", "clip_vision", "siglip_vision"]


def pictures(count: int, size: tuple[int, int] = (70, 50)) -> np.ndarray:
    """Smooth random pictures, so that resizing has something to keep."""
    coarse = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (count, 3, 9, 9)).astype(np.float32))
    smooth = F.interpolate(coarse, size, mode="bicubic").clamp(0, 255).round()
    return smooth.to(torch.uint8).permute(0, 2, 3, 1).numpy().copy()


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, EmbedConfig]:
    root = tmp_path_factory.mktemp("towers")
    tensors = save_tensors(root / "resnet.safetensors", "test_resnet")
    return {
        "timm": EmbedConfig(kind="timm", model=str(save_timm(root / "timm"))),
        "timm_file": EmbedConfig(kind="timm", model="test_resnet", pretrained=str(tensors)),
        **{
            kind: EmbedConfig(kind="transformers", model=str(save_transformers(root / kind, kind)))
            for kind in TRANSFORMERS
        },
    }


@pytest.fixture(scope="module")
def embedders(configs: dict[str, EmbedConfig]) -> dict[str, Embedder]:
    return {name: load_embedder(config, COMPUTE) for name, config in configs.items()}


@pytest.fixture(params=["timm", "timm_file", *TRANSFORMERS])
def embedder(request: pytest.FixtureRequest, embedders: dict[str, Embedder]) -> Embedder:
    return embedders[request.param]


def test_vectors_have_length_one_and_the_stated_size(embedder: Embedder) -> None:
    vectors = embedder(pictures(3))
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert embedder(pictures(3)[:0]).shape == (0, embedder.dim)


def test_a_row_is_the_same_bytes_alone_in_company_and_in_any_order(embedder: Embedder) -> None:
    images = pictures(7)
    together = embedder(images)
    shuffled = np.random.default_rng(1).permutation(7)
    assert np.concatenate([embedder(image[None]) for image in images]).tobytes() == together.tobytes()
    assert embedder(images[:5]).tobytes() == together[:5].tobytes()
    assert embedder(images[shuffled]).tobytes() == together[shuffled].tobytes()
    assert np.abs(together[0] - together[1]).max() > 1e-3  # and the pictures do differ


def unit(features: torch.Tensor) -> np.ndarray:
    return np.asarray(F.normalize(features, dim=1).numpy())


def test_a_timm_folder_gives_the_librarys_vectors(
    configs: dict[str, EmbedConfig], embedders: dict[str, Embedder]
) -> None:
    """They differ where Pillow and torch round a pixel apart."""
    model = timm.create_model(f"local-dir:{configs['timm'].model}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(model))
    images = pictures(4)
    with torch.inference_mode():
        expected = unit(model(torch.stack([transform(Image.fromarray(image)) for image in images])))
    np.testing.assert_allclose(embedders["timm"](images), expected, atol=2e-3)
    assert embedders["timm"].name == "timm/timm"
    assert embedders["timm_file"].name == "timm/test_resnet/resnet.safetensors"


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_transformers_folder_gives_the_librarys_vectors(
    kind: str, configs: dict[str, EmbedConfig], embedders: dict[str, Embedder]
) -> None:
    folder = configs[kind].model
    processor, model = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    images = pictures(4)
    with torch.inference_mode():
        output = model(**processor(images=[Image.fromarray(image) for image in images], return_tensors="pt"))
    features = output.last_hidden_state[:, 0] if kind == "vit_without_pooler" else output.pooler_output
    np.testing.assert_allclose(embedders[kind](images), unit(features), atol=2e-3)
    assert embedders[kind].name == f"transformers/{kind}"


def test_of_a_model_with_a_text_tower_the_image_tower_is_taken(tmp_path: Path) -> None:
    folder = save_transformers(tmp_path / "clip", "clip")
    AutoModel.from_pretrained(folder).vision_model.save_pretrained(tmp_path / "alone")
    (tmp_path / "alone" / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes())
    both, alone = (
        load_embedder(EmbedConfig(kind="transformers", model=str(tmp_path / name)), COMPUTE)(pictures(2))
        for name in ("clip", "alone")
    )
    np.testing.assert_array_equal(both, alone)


@pytest.mark.parametrize("name", ["timm", "timm_file", *TRANSFORMERS])
def test_half_precision_turns_a_vector_by_little(
    name: str, configs: dict[str, EmbedConfig], embedders: dict[str, Embedder]
) -> None:
    half = load_embedder(configs[name], COMPUTE.model_copy(update={"dtype": "bfloat16"}))
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    cosines = (half(images) * embedders[name](images)).sum(axis=1)
    assert cosines.min() >= LEAST_COSINE
    assert half(images).tobytes() != embedders[name](images).tobytes()  # and it was computed in half precision


@pytest.mark.parametrize("classes", [0, 5])
def test_a_classifier_of_any_size_is_taken_off(classes: int, tmp_path: Path) -> None:
    path = save_tensors(tmp_path / "fitted.safetensors", "test_vit", num_classes=classes)
    vectors = load_embedder(EmbedConfig(kind="timm", model="test_vit", pretrained=str(path)), COMPUTE)(pictures(2))
    assert vectors.shape == (2, 64)


def test_the_weights_of_a_tag_come_from_its_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, asked = save_timm(tmp_path / "snapshot"), []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or str(folder))
    vectors = [
        load_embedder(EmbedConfig(kind="timm", model=model), COMPUTE)(pictures(1))
        for model in ("test_vit", "test_vit.r160_in1k", "hf-hub:timm/test_vit.r160_in1k", str(folder))
    ]
    assert asked == ["timm/test_vit.r160_in1k"] * 3
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tset_vit", r"timm has no model 'tset_vit'; the nearest names are test_vit"),
        ("test_vit.laion", r"timm has no weights 'test_vit\.laion' on the hub; .* there are test_vit\.r160_in1k; give"),
        ("/nowhere/vit", r"/nowhere/vit: no such folder, nor a hub id .* or to a registered name \(a file of weights"),
        ("owner/name", r"owner/name: is no local folder and could not be fetched from the hub .*; give the path of"),
    ],
)
def test_unknown_names_are_explained(model: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=message):
        load_embedder(EmbedConfig(kind="timm", model=model), COMPUTE)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("dinov2-small", r"dinov2-small: no such folder, nor a hub id \(owner/name\); set embed\.model to one"),
        ("owner/name", r"owner/name: is no local folder and could not be fetched from the hub .*; give the path of"),
    ],
)
def test_what_transformers_cannot_find_is_explained(model: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=message):
        load_embedder(EmbedConfig(kind="transformers", model=model), COMPUTE)


@pytest.mark.parametrize("kind", ["timm", "transformers"])
def test_a_pickle_is_not_opened(kind: str, tmp_path: Path) -> None:
    folder = save_timm(tmp_path / "model") if kind == "timm" else save_transformers(tmp_path / "model", "dinov2")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin: weights are a pickle, .* has model\.safetensors, or"):
        load_embedder(EmbedConfig(kind=kind, model=str(folder)), COMPUTE)


def test_a_pickled_file_is_not_opened(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "vit.pth")
    with pytest.raises(WeightsError, match=r"vit\.pth: weights are a pickle, .* save its tensors as \.safetensors"):
        load_embedder(EmbedConfig(kind="timm", model="test_vit", pretrained=str(tmp_path / "vit.pth")), COMPUTE)
    with pytest.raises(WeightsError, match=r"nothing\.safetensors: no such \.safetensors file; give one of 'test_vit'"):
        load_embedder(EmbedConfig(kind="timm", model="test_vit", pretrained="nothing.safetensors"), COMPUTE)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = save_tensors(tmp_path / "resnet.safetensors", "test_resnet")
    with pytest.raises(WeightsError, match=r"timm 'test_vit' with '.*resnet\.safetensors' cannot be loaded: .*Missing"):
        load_embedder(EmbedConfig(kind="timm", model="test_vit", pretrained=str(path)), COMPUTE)
    folder = save_timm(tmp_path / "timm")
    with pytest.raises(WeightsError, match=r"the weights of a folder are its own; found embed\.pretrained '.*resnet"):
        load_embedder(EmbedConfig(kind="timm", model=str(folder), pretrained=str(path)), COMPUTE)
    path.write_bytes(b"0123456789")
    with pytest.raises(WeightsError, match=r"timm 'test_vit' with '.*resnet\.safetensors' cannot be loaded: "):
        load_embedder(EmbedConfig(kind="timm", model="test_vit", pretrained=str(path)), COMPUTE)


def without(tensor: str) -> Any:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors[tensor]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def named(kind: str) -> Any:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": kind}))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("layernorm.weight"), r"1 tensor\(s\) of 'dinov2' are missing or of another shape, first layernorm\.w"),
        (named("dinov22"), r"config\.json: transformers has no model_type 'dinov22'; the nearest are dinov2"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json: cannot be read .*copy the whole folder"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model: holds no model\.safetensors; copy the whole"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"01234567"), r"cannot be loaded as a 'dinov2': "),
    ],
)
def test_a_spoilt_folder_is_refused_by_name(spoil: Any, message: str, tmp_path: Path) -> None:
    folder = save_transformers(tmp_path / "model", "dinov2")
    spoil(folder)
    with pytest.raises(WeightsError, match=message):
        load_embedder(EmbedConfig(kind="transformers", model=str(folder)), COMPUTE)


def test_a_folder_of_the_other_library_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"names no architecture of timm's; .* embed\.kind transformers for one that"
    ):
        load_embedder(EmbedConfig(kind="timm", model=str(save_transformers(tmp_path / "a", "vit"))), COMPUTE)
    with pytest.raises(WeightsError, match=r"a folder that timm wrote is for embed\.kind timm"):
        load_embedder(EmbedConfig(kind="transformers", model=str(save_timm(tmp_path / "b"))), COMPUTE)


def test_a_model_that_masks_at_random_is_refused(tmp_path: Path) -> None:
    folder = save_transformers(tmp_path / "mae", "mae")
    with pytest.raises(
        WeightsError, match=r"transformers/mae: gives another vector each time for one picture; give an"
    ):
        load_embedder(EmbedConfig(kind="transformers", model=str(folder)), COMPUTE)


def test_a_model_of_text_is_refused(tmp_path: Path) -> None:
    folder = save_transformers(tmp_path / "bert", "vit")
    BertModel(BertConfig(**LAYERS, vocab_size=9)).save_pretrained(folder)
    with pytest.raises(WeightsError, match=r"transformers/bert: cannot embed a picture: .*; give an image model with"):
        load_embedder(EmbedConfig(kind="transformers", model=str(folder)), COMPUTE)
