"""Encoders of the feature pyramid: packaged, convolutional and transformer ones, with weights of this model only."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from farm.config import DetectorConfig
from farm.detector.encoder import Encoder
from farm.detector.model import build_detector
from farm.errors import ConfigError, WeightsError

NAMES = ("test_resnet", "test_vit")


def pixels(height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 255


def weights(folder: Path, name: str, seed: int = 5) -> Path:
    """Drawn weights of a small model of timm, as a folder with its safetensors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(name)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        ("efficientnet_lite0", (16, 24, 40, 112, 320), (2, 4, 8, 16, 32)),
        ("test_resnet", (32, 32, 48, 192, 96), (2, 4, 8, 16, 32)),
        ("test_vit", (64, 64, 64, 64), (4, 8, 16, 32)),
    ],
)
def test_maps_are_finest_first(name: str, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    encoder = Encoder(name, pretrained=False)
    with torch.inference_mode():
        maps = encoder(pixels(64, 96))
    assert encoder.channels == channels
    assert [tuple(one.shape) for one in maps] == [
        (2, c, 64 // stride, 96 // stride) for c, stride in zip(channels, strides, strict=True)
    ]


def test_a_picture_of_broken_patches_is_scaled_up_to_whole_ones() -> None:
    encoder = Encoder("test_vit", pretrained=False)
    with torch.inference_mode():
        assert encoder(pixels(50, 70))[2].shape[-2:] == (4, 5)


def test_pixels_are_scaled_as_the_model_was_trained() -> None:
    encoder = Encoder("test_resnet", pretrained=False)
    config = timm.get_pretrained_cfg("test_resnet")
    assert encoder.mean.flatten().tolist() == pytest.approx([255 * value for value in config.mean])
    assert encoder.std.flatten().tolist() == pytest.approx([255 * value for value in config.std])


@pytest.mark.parametrize("name", NAMES)
def test_local_weights_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    folder = weights(tmp_path, name)
    for place in (folder, folder / "model.safetensors"):
        encoder = Encoder(name, str(place))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            model = timm.create_model(name, features_only=True, out_indices=None if name == "test_resnet" else (5,))
        found, wanted = encoder.state_dict(), model.eval().state_dict()
        last = [key for key in wanted if key.endswith("weight")][-1]
        match = next(key for key in found if key.endswith(last.removeprefix("model.")))
        assert torch.equal(found[match], wanted[last])


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = weights(tmp_path, "test_resnet")
    with pytest.raises(WeightsError, match=r"model\.safetensors: cannot be loaded as test_vit .* of this very model"):
        Encoder("test_vit", str(folder))


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"cos\nsystem\n")
    with pytest.raises(WeightsError, match=r"model\.pth: only safetensors are loaded"):
        Encoder("test_vit", str(tmp_path / "model.pth"))
    with pytest.raises(WeightsError, match=r"model\.safetensors: is not there"):
        Encoder("test_vit", str(tmp_path))


def test_an_unknown_model_is_refused_with_one_that_is_known() -> None:
    with pytest.raises(ConfigError, match=r"encoder: 'resnet_none' is no model id of timm .* vit_small_patch14_dinov2"):
        Encoder("resnet_none")
    with pytest.raises(ConfigError, match="mixer_s32_224 takes pictures of one size only"):
        Encoder("mixer_s32_224", pretrained=False)


@pytest.mark.parametrize("name", ["efficientnet_lite0", *NAMES])
def test_every_weight_learns_and_no_statistic_does(name: str) -> None:
    config = DetectorConfig(kind="fpn", width=8, encoder=name)
    model = build_detector(config, pretrained=False).train()
    before = {key: value.clone() for key, value in model.named_buffers()}
    found = model(pixels())
    assert found.image_logit is not None
    (found.pixel_logits.square().mean() + found.image_logit.square().mean()).backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []
    assert all(torch.equal(value, before[key]) for key, value in model.named_buffers())
    assert not any(module.training for module in model.encoder.modules())


def test_settings_that_nobody_reads_are_refused() -> None:
    with pytest.raises(ValueError, match="encoder is for kind fpn; found encoder 'test_vit' with kind 'unet'"):
        DetectorConfig(kind="unet", encoder="test_vit")
    with pytest.raises(ValueError, match="encoder_weights needs an encoder of timm"):
        DetectorConfig(kind="fpn", encoder_weights="model.safetensors")
