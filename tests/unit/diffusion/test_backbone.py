import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion import weights
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.latents import to_unit
from farm.diffusion.weights import fingerprint
from farm.errors import ResourceError, WeightsError
from farm.model_files import read_json
from tests.tiny import SD15_SCHEDULER, TEXT_TOKENS, TEXT_WIDTH, surface, tiny_backbone_folder

CPU = ComputeConfig()


def model(path: Path) -> ModelConfig:
    return ModelConfig(path=str(path))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize(("channels", "vae"), [(4, "kl"), (8, "kl"), (4, "tiny"), (16, "tiny")])
def test_everything_is_read_from_the_folder(tmp_path: Path, channels: int, vae: Any) -> None:
    backbone = load_backbone(model(tiny_backbone_folder(tmp_path, channels, vae)), CPU)
    z = backbone.encode(surface(2, 64))
    text = backbone.embed_prompts(["cloth", "a hole"])
    assert (backbone.latent_channels, backbone.factor) == (channels, 8)
    assert z.shape == (2, channels, 8, 8)
    assert text.states.shape == (2, TEXT_TOKENS, TEXT_WIDTH)
    assert backbone.predict(z, 500, text).shape == z.shape
    assert backbone.decode(z).shape == (2, 3, 64, 64)


def test_latents_are_the_scaled_posterior_mean(backbone: Backbone) -> None:
    pixels = surface(2, 64)
    mean = backbone.vae.encode(to_unit(pixels)).latent_dist.mean
    torch.testing.assert_close(backbone.encode(pixels), mean * 0.5)
    torch.testing.assert_close(backbone.decode(mean * 0.5), backbone.vae.decode(mean).sample)


def test_loading_is_silent_shared_and_frozen(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = load_backbone(model(copy), CPU)
    assert load_backbone(model(copy), CPU) is first
    assert load_backbone(model(copy), ComputeConfig(dtype="bfloat16")) is not first
    networks = (first.unet, first.vae, first.text_encoder)
    assert not any(parameter.requires_grad for network in networks for parameter in network.parameters())
    assert not any(network.training for network in networks)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_moves_the_noise_little_and_spares_the_autoencoder(
    copy: Path, backbone: Backbone, dtype: Any
) -> None:
    half = load_backbone(model(copy), ComputeConfig(dtype=dtype))
    z, pixels = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), surface(2, 64)
    found = half.predict(z, 300, half.embed_prompts(["a hole"] * 2))
    wanted = backbone.predict(z, 300, backbone.embed_prompts(["a hole"] * 2))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.03)
    assert torch.equal(half.encode(pixels), backbone.encode(pixels))


def test_a_row_is_the_same_bits_in_any_company(backbone: Backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    z, others = torch.randn(8, 4, 8, 8, generator=generator), torch.randn(8, 4, 8, 8, generator=generator)
    times, prompts = torch.arange(1, 801, 100), [f"hole {index}" for index in range(8)]
    order = torch.tensor([3, 7, 1, 0, 5, 2, 6, 4])
    whole = backbone.predict(z, times, backbone.embed_prompts(prompts))
    mixed = backbone.predict(z[order], times[order], backbone.embed_prompts([prompts[i] for i in order.tolist()]))
    assert torch.equal(mixed, whole[order])
    others[2] = z[5]
    company = backbone.predict(others, times[5].expand(8), backbone.embed_prompts([prompts[5]] * 8))
    assert torch.equal(company[2], whole[5])
    pixels = surface(8, 64)
    assert torch.equal(backbone.encode(pixels[order.numpy()]), backbone.encode(pixels)[order])
    assert torch.equal(backbone.decode(z[order]), backbone.decode(z)[order])


def test_v_prediction_is_turned_into_noise(tmp_path: Path, backbone: Backbone) -> None:
    folder = tiny_backbone_folder(tmp_path, scheduler={**SD15_SCHEDULER, "prediction_type": "v_prediction"})
    other = load_backbone(model(folder), CPU)  # the same seed: the same network, read as v
    z, time = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([100, 700])
    v = backbone.predict(z, time, backbone.embed_prompts(["cloth"] * 2))
    abar = torch.from_numpy(np.asarray(other.schedule.abar[time])).reshape(2, 1, 1, 1)
    eps = other.predict(z, time, other.embed_prompts(["cloth"] * 2)).double()
    clean = abar.sqrt() * z - (1 - abar).sqrt() * v
    torch.testing.assert_close(abar.sqrt() * clean + (1 - abar).sqrt() * eps, z.double(), rtol=0, atol=1e-5)


def test_a_prompt_is_encoded_alone_and_once(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    both = backbone.embed_prompts(["a new scratch", "a new dent", "a new scratch"])
    monkeypatch.setattr(backbone.prompts, "_encode", lambda prompt: pytest.fail(f"{prompt} encoded again"))
    assert torch.equal(backbone.embed_prompts(["a new dent"]).states[0], both.states[1])
    assert torch.equal(both.states[0], both.states[2])
    assert not torch.equal(both.states[0], both.states[1])


def test_fingerprint_is_over_contents(folder: Path, copy: Path) -> None:
    before = fingerprint(model(folder))
    assert fingerprint(model(copy)) == before == load_backbone(model(folder), CPU).fingerprint
    (copy / "README.md").write_text("not a part of the model")
    assert fingerprint(model(copy)) == before
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_in.bias"] = tensors["conv_in.bias"] + 1e-3
    save_file(tensors, path, metadata={"format": "pt"})
    assert fingerprint(model(copy)) != before


def pickled(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.rename(path.with_suffix(".bin"))


def without_tensor(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    del tensors["text_model.final_layer_norm.bias"]
    save_file(tensors, path, metadata={"format": "pt"})


def edited(name: str, **change: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        import json

        (folder / name).write_text(json.dumps({**read_json(folder / name), **change}))

    return edit


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (pickled, "unet/diffusion_pytorch_model.bin: weights are a pickle, which can run code when opened; only safe"),
        (lambda folder: shutil.rmtree(folder / "vae"), "vae: holds no diffusion_pytorch_model.safetensors"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "tokenizer: no such folder"),
        (lambda folder: (folder / "model_index.json").unlink(), "model_index.json: cannot be read"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json: is not JSON"),
        (lambda folder: (folder / "unet" / "config.json").unlink(), "unet: cannot be loaded as UNet2DConditionModel"),
        (
            lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"0123456789"),
            "vae: cannot be loaded as AutoencoderKL",
        ),
        (without_tensor, "text_encoder: 1 tensor(s) of CLIPTextModel are missing"),
        (edited("unet/config.json", cross_attention_dim=48), "copy/unet: "),
        (
            edited("model_index.json", unet=["diffusers", "FluxTransformer2DModel"]),
            "unet is 'FluxTransformer2DModel'; it must be UNet2DConditionModel",
        ),
        (edited("scheduler/scheduler_config.json", prediction_type="sample"), "prediction_type is 'sample'"),
    ],
)
def test_a_spoilt_folder_is_refused_by_name(copy: Path, spoil: Callable[[Path], Any], text: str) -> None:
    spoil(copy)
    with pytest.raises(WeightsError) as caught:
        load_backbone(model(copy), CPU)
    assert text in str(caught.value)


@pytest.mark.parametrize(("part", "text"), [("vae", "latent channels"), ("tokenizer", "tokens")])
def test_parts_of_two_models_are_refused(copy: Path, tmp_path: Path, part: str, text: str) -> None:
    if part == "vae":
        other = tiny_backbone_folder(tmp_path / "other", latent_channels=8)
        shutil.rmtree(copy / "vae")
        shutil.copytree(other / "vae", copy / "vae")
    else:
        path = copy / "tokenizer" / "vocab.json"
        edited("tokenizer/vocab.json", more=514)(copy)
        assert path.is_file()
    with pytest.raises(WeightsError, match=text):
        load_backbone(model(copy), CPU)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"is a file; give the diffusers folder"):
        load_backbone(model(tmp_path / "model.safetensors"), CPU)
    with pytest.raises(WeightsError, match=r"no such folder; set model\.path"):
        load_backbone(model(tmp_path / "nothing"), CPU)


def test_a_hub_id_is_fetched_without_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert weights.model_folder(ModelConfig(path="owner/name", revision="v1")) == folder
    assert (asked["name"], asked["revision"]) == ("owner/name", "v1")
    assert all(pattern.endswith((".json", ".txt", ".safetensors")) for pattern in asked["allow_patterns"])


def test_a_hub_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, **_: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(WeightsError, match=r"owner/name: is no local folder and could not be fetched .*no route"):
        weights.model_folder(ModelConfig(path="owner/name"))


def test_embedded_is_one_such_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.mini.weights_dir", lambda kind: folder)
    assert load_backbone(ModelConfig(), CPU).fingerprint == fingerprint(model(folder))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that is asked for")
def test_a_missing_device_is_said(folder: Path) -> None:
    with pytest.raises(ResourceError, match=r"set compute\.device to cpu"):
        load_backbone(model(folder), replace_device(CPU))


def replace_device(compute: ComputeConfig) -> ComputeConfig:
    return compute.model_copy(update={"device": "cuda"})
