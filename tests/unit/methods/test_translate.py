"""Card 000 sections 3 and 6 on random U-Nets of the real classes: promises that hold for any weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from farm.config import MethodConfig, Run, TranslateConfig, parse
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.ddim import add_noise
from farm.diffusion.latents import latent_mask, row_noise, to_pixels, to_unit
from farm.errors import WeightsError
from farm.methods import METHODS, build_method, refine
from farm.methods.base import Made, Request
from farm.methods.translate import Translate
from farm.methods.translate_engines import DualGuidance, TextGuidance, dual, seen_source
from farm.verify import touched
from tests.tiny import surface, tiny_backbone_folder

ROWS, SIZE, STEPS = 4, 64, 4
ENGINES = ["instruct", "sdedit", "inpaint"]


@pytest.fixture(scope="module")
def instruct_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone_folder(tmp_path_factory.mktemp("instruct"), kind="instruct")


@pytest.fixture(scope="module")
def method(folder: Path, instruct_folder: Path) -> Callable[..., Translate]:
    def build(engine: str, **settings: Any) -> Translate:
        run = make_run(instruct_folder if engine == "instruct" else folder)
        config = TranslateConfig(**{"engine": engine, "steps": STEPS, "guidance": 3.0, **settings})
        return Translate(config, run)

    return build


def make_run(folder: Path, **method: Any) -> Run:
    tree = {
        "name": "tiny",
        "output": "nowhere",
        "rows": ROWS,
        "size_px": SIZE,
        "data": {"kind": "textile", "category": "textile"},
        "prompts": {"normal": "cloth", "defects": [{"name": "hole", "prompt": "a hole"}]},
        "model": {"path": str(folder)},
        "methods": [{"kind": "translate", **method}],
    }
    return parse(tree, "tiny")


@pytest.fixture(scope="module")
def request_() -> Request:
    masks = np.zeros((ROWS, SIZE, SIZE), np.uint8)
    for row in range(ROWS):
        masks[row, 8 + 3 * row : 24 + 3 * row, 10 + row : 30 + row] = 1
    prompts = tuple(f"a hole {row % 3}" for row in range(ROWS))
    seeds = np.arange(ROWS, dtype=np.int64) + 100
    return Request(surface(ROWS, SIZE), masks, seeds, ("",) * ROWS, prompts, ("cloth",) * ROWS)


def rows_of(request: Request, rows: list[int]) -> Request:
    return replace(
        request,
        source=request.source[rows],
        mask=request.mask[rows],
        seed=request.seed[rows],
        prompt=tuple(request.prompt[row] for row in rows),
    )


def latents(build: Translate, request: Request) -> Tensor:
    return build.latents(request, build.backbone.encode(request.source))[0]


def start(build: Translate, request: Request) -> tuple[Tensor, Tensor]:
    z0 = build.backbone.encode(request.source)
    return z0, row_noise(request.seed.tolist(), f"translate/{build.config.engine}", z0.shape[1:])


# card 000 section 3: the formula, and the pipeline that the model was published with
def test_dual_guidance_is_the_formula_of_its_three_predictions(
    method: Callable[..., Translate], request_: Request
) -> None:
    build = method("instruct")
    backbone, level = build.backbone, build.levels[2]
    z0, z = start(build, request_)
    source, empty = seen_source(backbone, z0), backbone.embed_prompts([""] * ROWS)
    text = backbone.embed_prompts(request_.prompt)
    e_00 = backbone.predict(z, level.time, empty, extra=torch.zeros_like(source))
    e_i0 = backbone.predict(z, level.time, empty, extra=source)
    e_it = backbone.predict(z, level.time, text, extra=source)
    guided = DualGuidance(backbone, request_.prompt, source, 1.4, 7.0)
    wanted = e_00 + 1.4 * (e_i0 - e_00) + 7.0 * (e_it - e_i0)
    torch.testing.assert_close(guided(z, level), wanted, atol=1e-4, rtol=1e-4)
    assert guided.evaluations == 3
    assert (e_it - e_i0).abs().max() > 1e-3 < (e_i0 - e_00).abs().max()
    torch.testing.assert_close(dual(e_00, e_i0, e_it, 1, 1), e_it, atol=1e-5, rtol=1e-4)


def test_the_network_sees_the_unscaled_mode_of_the_source(method: Callable[..., Translate], request_: Request) -> None:
    build = method("instruct")
    mode = build.backbone.vae.encode(to_unit(request_.source)).latent_dist.mode()
    torch.testing.assert_close(seen_source(build.backbone, build.backbone.encode(request_.source)), mode)


@pytest.mark.parametrize("steps", [1, 5])
def test_instruct_samples_what_diffusers_samples(
    method: Callable[..., Translate], request_: Request, instruct_folder: Path, steps: int
) -> None:
    build = method("instruct", steps=steps, image_guidance=1.6, guidance=6.5)
    _, noise = start(build, request_)
    published = diffusers_pipeline(build.backbone, instruct_folder)
    wanted = published(
        prompt=list(request_.prompt),
        image=to_unit(request_.source) / 2 + 0.5,
        num_inference_steps=steps,
        guidance_scale=6.5,
        image_guidance_scale=1.6,
        latents=noise,
        output_type="latent",
    ).images
    assert (wanted - noise).abs().max() > 0.01
    torch.testing.assert_close(latents(build, request_), wanted, atol=2e-4, rtol=1e-4)


def diffusers_pipeline(backbone: Backbone, folder: Path) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
        StableDiffusionInstructPix2PixPipeline,
    )
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=backbone.vae,
        text_encoder=backbone.text_encoder,
        tokenizer=backbone.tokenizer,
        unet=UNet2DConditionModel.from_pretrained(str(folder / "unet"), local_files_only=True),
        scheduler=DDIMScheduler.from_pretrained(str(folder / "scheduler"), local_files_only=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_guidance_of_equal_predictions_is_independent_of_its_scale(
    method: Callable[..., Translate], request_: Request
) -> None:
    backbone, plain = method("instruct").backbone, method("sdedit")
    z0, z = start(plain, request_)
    level, empty = plain.levels[1], [""] * ROWS
    by_text = [TextGuidance(plain.backbone, empty, scale)(z, level) for scale in (1.0, 2.0, 9.0)]
    torch.testing.assert_close(by_text[0], by_text[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(by_text[0], by_text[2], atol=1e-5, rtol=1e-4)
    same_text = [DualGuidance(backbone, empty, z0, 1.5, scale)(z, level) for scale in (0.0, 9.0)]
    torch.testing.assert_close(*same_text, atol=1e-5, rtol=1e-4)
    no_image = [
        DualGuidance(backbone, request_.prompt, torch.zeros_like(z0), scale, 3.0)(z, level) for scale in (0.0, 5.0)
    ]
    torch.testing.assert_close(*no_image, atol=1e-5, rtol=1e-4)


def test_image_guidance_and_the_source_decide_an_instructed_image(
    method: Callable[..., Translate], request_: Request
) -> None:
    first = latents(method("instruct", image_guidance=1.0), request_)
    assert (first - latents(method("instruct", image_guidance=3.0), request_)).abs().max() > 1e-3
    other = replace(request_, source=request_.source[::-1].copy())
    assert (first - latents(method("instruct", image_guidance=1.0), other)).abs().max() > 1e-3
    blind = [latents(method("instruct", image_guidance=0.0, guidance=0.0), one) for one in (request_, other)]
    assert torch.equal(blind[0], blind[1])  # e(0, 0) alone


@pytest.mark.parametrize("engine", ["sdedit", "inpaint"])
def test_more_strength_changes_more(method: Callable[..., Translate], request_: Request, engine: str) -> None:
    moved = []
    for strength in (0.25, 0.5, 1.0):
        build = method(engine, strength=strength, guidance=1.0)
        assert len(build.levels) == 1 + round(strength * STEPS)
        z0, _ = start(build, request_)
        moved.append(float((latents(build, request_) - z0).square().mean()))
    assert 0 < moved[0] < moved[1] < moved[2]


def test_sdedit_starts_from_the_noised_source(method: Callable[..., Translate], request_: Request) -> None:
    build = method("sdedit", strength=0.5)
    z0, noise = start(build, request_)
    seen = spied(build)
    latents(build, request_)
    assert torch.equal(seen[0], add_noise(z0, noise, build.levels[-1].abar))
    assert build.levels == build.backbone.schedule.levels(STEPS)[:3]
    assert len(seen) == 2


def test_inpaint_keeps_the_outside_at_the_noised_source_at_every_step(
    method: Callable[..., Translate], request_: Request
) -> None:
    build = method("inpaint", strength=0.75)
    z0, noise = start(build, request_)
    seen = spied(build)
    made = latents(build, request_)
    outside = ~latent_mask(request_.mask, 8).expand_as(z0)
    assert len(seen) == 3
    for z, level in zip(seen, build.levels[:0:-1], strict=True):
        assert torch.equal(z[outside], add_noise(z0, noise, level.abar)[outside])
    assert torch.equal(made[outside], z0[outside])
    assert not torch.equal(seen[1][~outside], add_noise(z0, noise, build.levels[-2].abar)[~outside])
    assert not torch.equal(made[~outside], z0[~outside])


def spied(build: Translate) -> list[Tensor]:
    """The latents that the network is shown from now on, each once."""
    seen: list[Tensor] = []
    build.backbone = Spy(build.backbone, seen)  # type: ignore[assignment]
    return seen


class Spy:
    """A backbone that notes what it is asked."""

    def __init__(self, backbone: Backbone, seen: list[Tensor]) -> None:
        self._backbone, self._seen = backbone, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def predict(self, z: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._seen.append(z[:ROWS].clone())
        return self._backbone.predict(z, *args, **kwargs)


def reach(config: MethodConfig, request: Request, made: Made, row: int) -> npt.NDArray[np.bool_]:
    """Where the row may differ from its source."""
    assert isinstance(config, TranslateConfig)
    place = request.mask[row] if config.engine == "inpaint" else made.label[row]
    return np.asarray(refine.dilate(place, config.dilate_px) == 1, bool)


# card 000 section 6: composite
@pytest.mark.parametrize("engine", ENGINES)
def test_outside_the_dilated_label_every_byte_is_the_source(
    method: Callable[..., Translate], request_: Request, engine: str
) -> None:
    build = method(engine)
    made = build(request_)
    assert made.error == ("",) * ROWS
    assert made.image.shape == request_.source.shape
    assert made.image.dtype == made.label.dtype == np.uint8
    assert any(label.any() for label in made.label)
    for row in range(ROWS):
        near = reach(build.config, request_, made, row)
        np.testing.assert_array_equal(made.image[row][~near], request_.source[row][~near])
        assert (made.image[row] != request_.source[row]).any() == near.any()
        assert (made.label[row][~near] == 0).all()
        assert (touched(np.maximum(request_.mask[row], made.label[row]), build.config) | ~near).all()
    assert (made.background_error > 0).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_without_composite_the_whole_image_comes_out(
    method: Callable[..., Translate], request_: Request, engine: str
) -> None:
    build = method(engine, composite=False)
    made = build(request_)
    row = next(row for row in range(ROWS) if made.label[row].any())
    outside = ~reach(build.config, request_, made, row)
    error = np.abs(made.image[row][outside].astype(float) - request_.source[row][outside]).mean()
    assert made.background_error[row] == pytest.approx(error, rel=1e-4) != 0
    assert touched(request_.mask[row], build.config).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_is_the_same_bytes_in_any_company(
    method: Callable[..., Translate], request_: Request, engine: str
) -> None:
    build = method(engine)
    whole = build(request_)
    for rows in ([3, 1, 0, 2], [2] * 4, [1, 1, 3, 3]):
        made = build(rows_of(request_, rows))
        np.testing.assert_array_equal(made.image, whole.image[rows])
        np.testing.assert_array_equal(made.label, whole.label[rows])
        np.testing.assert_array_equal(made.background_error, whole.background_error[rows])
        assert made.objection == tuple(whole.objection[row] for row in rows)


@pytest.mark.parametrize("engine", ENGINES)
def test_seed_and_prompt_decide_the_image(method: Callable[..., Translate], request_: Request, engine: str) -> None:
    build = method(engine)
    first = latents(build, request_)
    assert torch.equal(first, latents(build, request_))
    assert not torch.equal(first, latents(build, replace(request_, seed=request_.seed + 1)))
    assert not torch.equal(first, latents(build, replace(request_, prompt=("a scratch",) * ROWS)))


def test_the_target_mask_means_nothing_where_the_mask_is_found(
    method: Callable[..., Translate], request_: Request
) -> None:
    for engine in ("instruct", "sdedit"):
        build = method(engine)
        first, other = build(request_), build(replace(request_, mask=np.zeros_like(request_.mask)))
        np.testing.assert_array_equal(first.image, other.image)
        np.testing.assert_array_equal(first.label, other.label)


@pytest.mark.parametrize(
    ("engine", "settings", "evaluations"),
    [
        ("instruct", {}, 3 * STEPS),
        ("sdedit", {"strength": 0.5}, 2 * 2),
        ("sdedit", {"strength": 0.5, "guidance": 1.0}, 2),
        ("inpaint", {"strength": 0.75}, 2 * 3),
        ("inpaint", {"strength": 0.01, "guidance": 1.0}, 1),
    ],
)
def test_evaluations_are_those_that_the_network_saw(
    method: Callable[..., Translate],
    request_: Request,
    engine: str,
    settings: dict[str, Any],
    evaluations: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = method(engine, **settings)
    seen: list[int] = []
    forward = build.backbone.unet.forward

    def spy(z: Tensor, *args: object, **kwargs: object) -> object:
        seen.append(len(z))
        return forward(z, *args, **kwargs)

    monkeypatch.setattr(build.backbone.unet, "forward", spy)
    made = build(request_)
    assert made.evaluations.dtype == np.int32
    assert made.evaluations.tolist() == [evaluations] * ROWS
    assert sum(seen) == evaluations * ROWS


def test_what_cannot_be_seen_and_what_moved_are_objected_to(
    method: Callable[..., Translate], request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = method("sdedit")
    monkeypatch.setattr("farm.methods.translate_engines.sdedit", lambda predict, z0, *_: z0)
    made = build(request_)
    assert made.objection == ("no_visible_defect",) * ROWS
    np.testing.assert_array_equal(made.image, request_.source)
    reference = to_pixels(build.backbone.decode(build.backbone.encode(request_.source)))
    wide = np.pad(request_.source, ((0, 0), (0, 0), (6, 6), (0, 0)), mode="wrap")
    pictures = iter([to_unit(wide[:, :, :-12]), to_unit(request_.source)])
    monkeypatch.setattr(build, "backbone", Decoding(build.backbone, pictures))
    made = build(request_)
    assert reference.shape == made.image.shape
    assert made.objection == ("misaligned",) * ROWS
    assert made.label.sum() == 0
    np.testing.assert_array_equal(made.image, request_.source)


class Decoding:
    """A backbone that decodes to given pictures."""

    def __init__(self, backbone: Backbone, pictures: Any) -> None:
        self._backbone, self._pictures = backbone, pictures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def decode(self, z: Tensor) -> Tensor:
        del z
        picture: Tensor = next(self._pictures)
        return picture


def test_inpaint_objects_to_a_defect_that_cannot_be_seen(
    method: Callable[..., Translate], request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.methods.translate_engines.inpaint", lambda predict, z0, *_: z0)
    made = method("inpaint")(request_)
    assert made.objection == ("no_visible_defect",) * ROWS
    assert made.label.sum() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bad_row_fails_alone(
    method: Callable[..., Translate], request_: Request, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = method(engine)
    wanted = build(request_)
    sample = build.latents

    def broken(request: Request, z0: Tensor) -> tuple[Tensor, int]:
        made, evaluations = sample(request, z0)
        made[2, 0, 0, 0] = torch.nan
        return made, evaluations

    monkeypatch.setattr(build, "latents", broken)
    mask = request_.mask.copy()
    mask[1] = 0
    made = build(replace(request_, mask=mask))
    assert made.error[2].startswith("latents or pixels are not finite")
    assert made.error[1].startswith("the target mask is empty") == (engine == "inpaint")
    good = [row for row in range(ROWS) if row not in (1, 2)]
    assert [made.error[row] for row in good] == [""] * len(good)
    np.testing.assert_array_equal(made.image[good], wanted.image[good])


def test_engine_and_model_must_fit(folder: Path, instruct_folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"engine 'instruct' needs a model whose U-Net also reads the source"):
        Translate(TranslateConfig(engine="instruct"), make_run(folder))
    for engine in ("sdedit", "inpaint"):
        with pytest.raises(WeightsError, match=rf"is an instruct model .* engine '{engine}' needs a plain one"):
            Translate(TranslateConfig(engine=engine), make_run(instruct_folder))


def test_the_method_is_built_by_its_kind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "translate", "farm.methods.translate:Translate")
    run = make_run(folder, material="textile")
    made = build_method(run.methods[0], run)
    assert isinstance(made, Translate)
    assert made.needs_trajectory is False
    assert made.backbone is load_backbone(run.model, run.compute)
