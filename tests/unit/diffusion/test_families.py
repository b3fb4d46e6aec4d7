"""Stable Diffusion 1.5, 2.1, XL and InstructPix2Pix folders behind one protocol."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.attention import mask_pyramid
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.ddim import move
from farm.diffusion.text import Text
from farm.diffusion.weights import fingerprint
from farm.errors import WeightsError
from farm.model_files import read_json
from tests.tiny import POOLED_WIDTH, SECOND_WIDTH, TEXT_TOKENS, TEXT_WIDTH, Kind, surface

KINDS = get_args(Kind)
BackboneOf = Callable[[Kind], Backbone]
FolderOf = Callable[[Kind], Path]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def load(folder: Path) -> Backbone:
    return load_backbone(ModelConfig(path=str(folder)), ComputeConfig())


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_read_from_its_folder(backbone_of: BackboneOf, kind: Kind) -> None:
    backbone = backbone_of(kind)
    z = backbone.encode(surface(2, 64))
    text = backbone.embed_prompts(["cloth", "a hole"])
    width = TEXT_WIDTH + (SECOND_WIDTH if kind == "sdxl" else 0)
    assert text.states.shape == (2, TEXT_TOKENS, width)
    assert (None if text.pooled is None else text.pooled.shape) == ((2, POOLED_WIDTH) if kind == "sdxl" else None)
    assert backbone.instruct == (kind == "instruct")
    assert backbone.schedule.prediction == ("v_prediction" if kind == "sd21" else "epsilon")
    extra = z if backbone.instruct else None
    assert backbone.predict(z, 500, text, extra=extra).shape == z.shape == (2, 4, 8, 8)
    networks = (backbone.unet, backbone.vae, backbone.prompts.encoders)
    assert not any(parameter.requires_grad for network in networks for parameter in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_in_a_padded_batch_is_the_same_bits(backbone_of: BackboneOf, kind: Kind) -> None:
    backbone = backbone_of(kind)
    z, extra, times = draw(4, 4, 8, 8), draw(4, 4, 8, 8, seed=1), torch.tensor([1, 300, 600, 900])
    prompts = ["cloth", "a hole", "", "rust"]
    masks = draw(4, 1, 8, 8, seed=2) > 0

    def predict(rows: list[int]) -> torch.Tensor:
        text = backbone.embed_prompts([prompts[row] for row in rows])
        both = text.beside(backbone.embed_prompts(["metal"] * len(rows)))
        image = extra[rows] if backbone.instruct else None
        return backbone.predict(z[rows], times[rows], both, mask_pyramid(masks[rows]), extra=image)

    together = predict([0, 1, 2, 3])
    for row in range(4):
        assert torch.equal(predict([row] * 4)[0], together[row])
        assert torch.equal(predict([3, row, row, 0])[1], together[row])


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_each_text_is_read_in_its_place(backbone_of: BackboneOf, kind: Kind) -> None:
    backbone, z = backbone_of(kind), draw(2, 4, 8, 8)
    first, second = backbone.embed_prompts(["a hole"] * 2), backbone.embed_prompts(["cloth"] * 2)
    regions = mask_pyramid(torch.ones(2, 1, 8, 8, dtype=torch.bool))
    inside = backbone.predict(z, 500, first.beside(second), regions)
    torch.testing.assert_close(inside, backbone.predict(z, 500, first), rtol=0, atol=1e-6)
    assert (inside - backbone.predict(z, 500, second)).abs().max() > 1e-5


def test_rows_of_texts_join_and_part(backbone_of: BackboneOf) -> None:
    backbone = backbone_of("sdxl")
    one, two = backbone.embed_prompts(["a", "b"]), backbone.embed_prompts(["c"])
    both, wanted = Text.cat([one, two]), backbone.embed_prompts(["a", "b", "c"])
    assert len(both) == 3
    for found, right in ((both, wanted), (both[1:], backbone.embed_prompts(["b", "c"]))):
        assert found.pooled is not None
        assert right.pooled is not None
        assert torch.equal(found.states, right.states)
        assert torch.equal(found.pooled, right.pooled)
    beside = two.beside(backbone.embed_prompts(["a"]))
    assert beside.states.shape[1] == 2 * TEXT_TOKENS
    assert beside.pooled is two.pooled


def test_sdxl_prompts_are_those_of_diffusers(folder_of: FolderOf, backbone_of: BackboneOf) -> None:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(str(folder_of("sdxl")))
    prompts = ["cloth", "a small hole in the middle of the cloth"]  # the second is cut
    for index, prompt in enumerate(prompts):
        states, empty, pooled, empty_pooled = pipeline.encode_prompt(prompt)
        found, nothing = backbone_of("sdxl").embed_prompts(prompts), backbone_of("sdxl").embed_prompts([""])
        assert found.pooled is not None
        assert nothing.pooled is not None
        assert torch.equal(found.states[index], states[0])
        assert torch.equal(found.pooled[index], pooled[0])
        assert torch.equal(nothing.states, empty)
        assert torch.equal(nothing.pooled, empty_pooled)


def test_sdxl_encodes_the_empty_prompt_where_its_folder_says_so(folder_of: FolderOf, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of("sdxl"), tmp_path / "copy"))
    before = fingerprint(ModelConfig(path=str(folder)))
    index = read_json(folder / "model_index.json")
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    assert load(folder).embed_prompts([""]).states.abs().max() > 0.1
    assert fingerprint(ModelConfig(path=str(folder))) != before


def test_sdxl_noise_is_that_of_diffusers(backbone_of: BackboneOf) -> None:
    backbone, z = backbone_of("sdxl"), draw(2, 4, 8, 16)
    text = backbone.embed_prompts(["cloth", "a hole"])
    sizes = torch.tensor([[64.0, 128.0, 0.0, 0.0, 64.0, 128.0]] * 2)  # original, corner and target of the pipeline
    wanted = backbone.unet(
        z, 500, encoder_hidden_states=text.states, added_cond_kwargs={"text_embeds": text.pooled, "time_ids": sizes}
    ).sample
    assert torch.equal(backbone.predict(z, 500, text), wanted)
    assert not torch.equal(backbone.predict(draw(2, 4, 8, 8), 500, text), wanted[..., :8])


def test_v_prediction_steps_as_diffusers_does(folder_of: FolderOf, backbone_of: BackboneOf) -> None:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    backbone, z = backbone_of("sd21"), draw(2, 4, 8, 8)
    text, levels = backbone.embed_prompts(["cloth", "a hole"]), backbone.schedule.levels(10)
    scheduler = DDIMScheduler.from_config(read_json(folder_of("sd21") / "scheduler" / "scheduler_config.json"))
    scheduler.set_timesteps(10)
    for here, below in ((levels[10], levels[9]), (levels[4], levels[3]), (levels[1], levels[0])):
        v = backbone.unet(z, here.time, encoder_hidden_states=text.states).sample
        wanted = scheduler.step(v, here.time, z, eta=0.0).prev_sample
        found = move(z, backbone.predict(z, here.time, text), here.abar, below.abar)
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)


def test_instruct_reads_the_image_beside_the_latent(backbone_of: BackboneOf) -> None:
    backbone, z, image = backbone_of("instruct"), draw(2, 4, 8, 8), draw(2, 4, 8, 8, seed=1)
    text = backbone.embed_prompts(["cloth", "a hole"])
    wanted = backbone.unet(torch.cat([z, image], 1), 500, encoder_hidden_states=text.states).sample
    assert torch.equal(backbone.predict(z, 500, text, extra=image), wanted)
    assert not torch.equal(backbone.predict(z, 500, text, extra=torch.zeros_like(image)), wanted)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "text_encoder_2"])
def test_a_pickle_is_refused_in_every_part(folder_of: FolderOf, tmp_path: Path, part: str) -> None:
    folder = Path(shutil.copytree(folder_of("sdxl"), tmp_path / "copy"))
    path = next((folder / part).glob("*.safetensors"))
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(WeightsError, match=rf"{part}/{path.stem}\.bin: weights are a pickle, .* only safetensors are"):
        load(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "text_encoder_2"])
def test_every_part_is_in_the_fingerprint(folder_of: FolderOf, tmp_path: Path, part: str) -> None:
    folder = Path(shutil.copytree(folder_of("sdxl"), tmp_path / "copy"))
    before = fingerprint(ModelConfig(path=str(folder)))
    path = next((folder / part).glob("*.safetensors"))
    tensors = load_file(path)
    name = sorted(tensors)[0]
    save_file({**tensors, name: tensors[name] + 1}, path, metadata={"format": "pt"})
    assert fingerprint(ModelConfig(path=str(folder))) != before == load(folder_of("sdxl")).fingerprint


def edited(name: str, **change: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        (folder / name).write_text(json.dumps({**read_json(folder / name), **change}))

    return edit


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (
            edited("model_index.json", text_encoder_2=["transformers", "T5EncoderModel"]),
            "text_encoder_2 is 'T5EncoderModel'; it must be CLIPTextModelWithProjection",
        ),
        (edited("model_index.json", text_encoder=[None, None]), "text_encoder is None; it must be CLIPTextModel"),
        (edited("model_index.json", tokenizer_2=None), "tokenizer_2 is None; it must be CLIPTokenizer"),
        (lambda folder: shutil.rmtree(folder / "tokenizer_2"), "tokenizer_2: no such folder"),
        (lambda folder: shutil.rmtree(folder / "text_encoder_2"), "text_encoder_2: holds no model.safetensors"),
        (edited("tokenizer_2/vocab.json", more=514), "the tokenizer has 515 tokens but the text encoder 514"),
    ],
)
def test_a_spoilt_sdxl_folder_is_refused_by_name(
    folder_of: FolderOf, tmp_path: Path, spoil: Callable[[Path], Any], text: str
) -> None:
    folder = Path(shutil.copytree(folder_of("sdxl"), tmp_path / "copy"))
    spoil(folder)
    with pytest.raises(WeightsError) as caught:
        load(folder)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "unet", "text"),
    [
        ("sdxl", "sd15", "unet cross_attention_dim is 32; it must be 80, since the vae has 4 latent channels and the"),
        ("sd15", "sdxl", "unet cross_attention_dim is 80; it must be 32"),
    ],
)
def test_the_unet_of_another_family_is_refused(
    folder_of: FolderOf, tmp_path: Path, kind: Kind, unet: Kind, text: str
) -> None:
    folder = Path(shutil.copytree(folder_of(kind), tmp_path / "copy"))
    shutil.rmtree(folder / "unet")
    shutil.copytree(folder_of(unet) / "unet", folder / "unet")
    with pytest.raises(WeightsError) as caught:
        load(folder)
    assert text in str(caught.value)


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
def test_a_private_copy_keeps_its_changes_to_itself(backbone_of: BackboneOf, kind: Kind) -> None:
    shared, z = backbone_of(kind), draw(2, 4, 8, 8)
    before = shared.predict(z, 500, shared.embed_prompts(["a hole"] * 2))
    words = len(shared.tokenizer)
    mine = shared.private()
    assert mine.vae is shared.vae
    assert mine.fingerprint == shared.fingerprint
    assert torch.equal(mine.predict(z, 500, mine.embed_prompts(["a hole"] * 2)), before)
    mine.add_token("<pitting>", "hole", 0)
    mine.add_lora(2, 0)
    with torch.no_grad():
        for parameter in (*mine.unet.parameters(), *mine.prompts.encoders.parameters()):
            parameter.add_(0.1)
    assert not torch.equal(mine.predict(z, 500, mine.embed_prompts(["a hole"] * 2)), before)
    shared.prompts._known.clear()
    assert torch.equal(shared.predict(z, 500, shared.embed_prompts(["a hole"] * 2)), before)
    assert len(shared.tokenizer) == words
    assert shared.token_vectors() == {}
    assert shared.lora_parameters() == []
