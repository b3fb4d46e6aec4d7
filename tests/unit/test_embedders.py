"""Embedders: known answers of the packaged network, the library's own preprocessing, one row = many rows."""

import json
import pickle
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from torch.nn import functional as F

from farm import pretrained
from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import load_embedder
from farm.embedders.openclip import preprocessing
from farm.embedders.preprocess import preprocess
from farm.errors import WeightsError
from farm.pretrained import efficientnet_lite0, efficientnet_lite0_features, scale_input

COMPUTE = ComputeConfig(batch_size=8)
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}


def photographs(n, size=(64, 64), seed=0):
    """Smooth random pictures: low-frequency colour, so that resizing has something to keep."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (n, 3, 9, 9)).astype(np.float32))
    smooth = F.interpolate(coarse, size, mode="bicubic").clamp(0, 255).round()
    return smooth.to(torch.uint8).permute(0, 2, 3, 1).numpy().copy()


@pytest.fixture(scope="module")
def efficientnet():
    return load_embedder(EmbedConfig(), COMPUTE)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A registered tiny CLIP with random weights in a safetensors file: (config path, checkpoint path)."""
    folder = tmp_path_factory.mktemp("clip")
    config, checkpoint = folder / "tiny-farm-clip.json", folder / "tiny.safetensors"
    config.write_text(json.dumps(TINY))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    save_file(open_clip.create_model("tiny-farm-clip").state_dict(), checkpoint)
    return config, checkpoint


@pytest.fixture(scope="module")
def clip(tiny):
    config, checkpoint = tiny
    return load_embedder(EmbedConfig(kind="open_clip", model=str(config), pretrained=str(checkpoint)), COMPUTE)


@pytest.fixture(params=["efficientnet", "clip"])
def embedder(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("picture", "label"), [("chelsea", 285), ("coffee", 967), ("rocket", 657)])
def test_packaged_weights_name_a_cat_a_coffee_and_a_rocket(picture, label):
    pixels = torch.from_numpy(getattr(data, picture)()).permute(2, 0, 1)[None].float()
    pixels = F.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
    with torch.inference_mode():
        best = efficientnet_lite0()(scale_input(pixels)).topk(2).indices[0].tolist()
    assert label in best  # ImageNet: Egyptian cat, espresso, missile (or space shuttle)


def test_features_are_those_of_the_classifier():
    pixels = scale_input(torch.from_numpy(photographs(1, (96, 96))).permute(0, 3, 1, 2))
    encoder, classifier = efficientnet_lite0_features(), efficientnet_lite0()
    with torch.inference_mode():
        maps = encoder(pixels)
        deepest = classifier.blocks(classifier.bn1(classifier.conv_stem(pixels)))
    assert [tuple(level.shape[1:]) for level in maps] == [
        (16, 48, 48),
        (24, 24, 24),
        (40, 12, 12),
        (112, 6, 6),
        (320, 3, 3),
    ]
    torch.testing.assert_close(maps[-1], deepest, rtol=0, atol=1e-5)
    assert encoder.feature_info.channels() == [16, 24, 40, 112, 320]


def test_fewer_feature_levels_take_the_same_weights():
    pixels = scale_input(torch.from_numpy(photographs(1)).permute(0, 3, 1, 2))
    with torch.inference_mode():
        every = efficientnet_lite0_features()(pixels)
        some = efficientnet_lite0_features((1, 3))(pixels)
    assert torch.equal(some[0], every[1])
    assert torch.equal(some[1], every[3])


def test_weights_that_do_not_fit_are_named(monkeypatch):
    monkeypatch.setattr(pretrained, "ARCHITECTURE", "tf_efficientnet_lite1")
    with pytest.raises(WeightsError, match=r"found 296 tensors, timm's tf_efficientnet_lite1 has \d+"):
        efficientnet_lite0()


def test_efficientnet_vector_is_the_normalised_mean_of_the_last_maps(efficientnet):
    image = photographs(1, (224, 224))
    with torch.inference_mode():
        maps = efficientnet_lite0().forward_features((torch.from_numpy(image).permute(0, 3, 1, 2) - 127.0) / 128.0)
    expected = maps.mean(dim=(2, 3))[0].double()
    np.testing.assert_allclose(efficientnet(image)[0], (expected / expected.norm()).numpy(), atol=2e-6)


def test_vectors_have_length_one_and_the_stated_size(embedder):
    vectors = embedder(photographs(3))
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert embedder(photographs(3)[:0]).shape == (0, embedder.dim)


def test_a_row_is_the_same_bytes_alone_in_company_and_in_any_order(embedder):
    images = photographs(11)
    together = embedder(images)
    alone = np.concatenate([embedder(image[None]) for image in images[:3]])
    shuffled = np.random.default_rng(1).permutation(11)
    assert together[:3].tobytes() == alone.tobytes()
    assert embedder(images[:8]).tobytes() == together[:8].tobytes()
    assert embedder(images[shuffled]).tobytes() == together[shuffled].tobytes()
    assert np.abs(together[0] - together[1]).max() > 1e-3  # and the pictures do differ


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(48, 48), (90, 61), (33, 120)])
def test_preprocessing_is_open_clips_own(resize_mode, interpolation, size):
    """Against Pillow's path: at most one level of 255 at a pixel, and that at a pixel in fifty."""
    config = PreprocessCfg(size=32, resize_mode=resize_mode, interpolation=interpolation, fill_color=7)
    images = photographs(3, size)
    transform = image_transform_v2(config, is_train=False)
    expected = torch.stack([transform(Image.fromarray(image)) for image in images])
    ours = preprocess(torch.from_numpy(images).permute(0, 3, 1, 2), preprocessing(config))
    assert ours.shape == expected.shape
    levels = (ours - expected).abs() * torch.tensor(config.std).view(1, 3, 1, 1) * 255
    assert levels.max() < 1.01
    assert levels.mean() < 0.02


def test_preprocessing_to_an_oblong_target_is_open_clips_own():
    config = PreprocessCfg(size=(24, 40))
    image = photographs(1, (70, 65))
    expected = image_transform_v2(config, is_train=False)(Image.fromarray(image[0]))
    ours = preprocess(torch.from_numpy(image).permute(0, 3, 1, 2), preprocessing(config))[0]
    levels = (ours - expected).abs() * torch.tensor(config.std).view(3, 1, 1) * 255
    assert levels.max() < 1.01


def test_open_clip_vectors_are_those_of_the_library(clip, tiny):
    """Whole path against Pillow preprocessing and ``encode_image``; they differ by a level here and there."""
    config, checkpoint = tiny
    model, _, transform = open_clip.create_model_and_transforms(config.stem, pretrained=str(checkpoint))
    images = photographs(4, (70, 50))
    with torch.inference_mode():
        inputs = torch.stack([transform(Image.fromarray(image)) for image in images])
        expected = model.eval().encode_image(inputs, normalize=True).numpy()
    np.testing.assert_allclose(clip(images), expected, atol=2e-3)
    assert clip.name == "open_clip/tiny-farm-clip/tiny.safetensors"


class Evil:
    def __reduce__(self):
        return (print, ("a checkpoint ran code",))


def test_a_checkpoint_that_can_run_code_is_refused(tiny, tmp_path, capsys):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2))
    with pytest.raises(WeightsError, match=r"evil\.pt: this checkpoint can run code .* save its tensors as"):
        load_embedder(EmbedConfig(kind="open_clip", model=str(tiny[0]), pretrained=str(path)), COMPUTE)
    torch.save({"state_dict": {}, "hook": Evil()}, tmp_path / "zip.pt")
    with pytest.raises(WeightsError, match=r"zip\.pt: this checkpoint can run code"):
        load_embedder(EmbedConfig(kind="open_clip", model=str(tiny[0]), pretrained=str(tmp_path / "zip.pt")), COMPUTE)
    assert "ran code" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("ViT-B-33", "laion2b_s34b_b79k", r"no model 'ViT-B-33'; the nearest names are .*ViT-B-32"),
        ("ViT-B-32", "nothing", r"'nothing' is neither a file nor one of its tags \(.*laion2b_s34b_b79k"),
        ("absent.json", "nothing", r"absent\.json: no such file"),
    ],
)
def test_unknown_names_are_explained(model, given, message):
    with pytest.raises(WeightsError, match=message):
        load_embedder(EmbedConfig(kind="open_clip", model=model, pretrained=given), COMPUTE)


def test_the_embedded_clip_is_called_by_name():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 80, 3), np.uint8)
    embedder = load_embedder(EmbedConfig(kind="open_clip", model="embedded"), COMPUTE)
    assert embedder.name == "open_clip/embedded/open_clip_model.safetensors"
    vectors = embedder(images)
    assert vectors.shape == (len(images), embedder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="the embedded CLIP has its own weights"):
        EmbedConfig(kind="open_clip", model="embedded", pretrained="other.safetensors")


def test_the_embedded_clip_gives_the_vectors_it_always_gave():
    """Frozen before preprocessing became common to all libraries; an oblong ramp, so cropping counts."""
    y, x = np.mgrid[:96, :160]
    ramp = np.stack([y * 2 % 256, x, (x + y) % 256], axis=-1).astype(np.uint8)[None]
    embedder = load_embedder(EmbedConfig(kind="open_clip", model="embedded"), COMPUTE)
    frozen = [0.136186, 0.128703, 0.041458, 0.022314, 0.00468, 0.038125, 0.074455, 0.05757]
    np.testing.assert_allclose(embedder(ramp)[0, :8], frozen, atol=1e-5)


def test_weights_of_another_model_are_refused(tiny, tmp_path):
    path = Path(tmp_path / "other.safetensors")
    save_file({"visual.proj": torch.zeros(3, 3), "logit_scale": torch.zeros(())}, path)
    with pytest.raises(
        WeightsError, match=r"with '.*other\.safetensors' cannot be loaded: .*; give a checkpoint of this"
    ):
        load_embedder(EmbedConfig(kind="open_clip", model=str(tiny[0]), pretrained=str(path)), COMPUTE)
