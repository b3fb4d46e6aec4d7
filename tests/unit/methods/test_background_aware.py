"""Card 001 section 7 on a random U-Net of the real class: promises that hold for any weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farm.config import BackgroundAwareConfig, ComputeConfig, ModelConfig, Run, parse
from farm.diffusion.backbone import load_backbone
from farm.diffusion.ddim import invert, sample, whole
from farm.diffusion.inversion import Inverter
from farm.diffusion.latents import latent_mask, row_noise
from farm.diffusion.regional import hole_view
from farm.errors import WeightsError
from farm.fitting.adapters import write_adapter
from farm.methods import build_method, refine
from farm.methods.background_adapter import take_adapter
from farm.methods.background_aware import BackgroundAware
from farm.methods.base import Request
from farm.prepare import prepare
from farm.stages.invert import InversionBlocks, inversion_key
from tests.photos import make_run, make_tree
from tests.tiny import surface, tiny_backbone_folder

ROWS, SIZE, STEPS = 8, 64, 3
MODES = ["replay", "two_pass"]


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    tree = {
        "name": "tiny",
        "output": "nowhere",
        "rows": ROWS,
        "size_px": SIZE,
        "data": {"kind": "textile", "category": "textile"},
        "prompts": {"normal": "cloth", "defects": [{"name": "hole", "prompt": "a hole"}]},
        "model": {"path": str(folder)},
        "methods": [{"kind": "background_aware"}],
    }
    return parse(tree, "tiny")


def method(run: Run, **settings: Any) -> BackgroundAware:
    config = BackgroundAwareConfig(**{"steps": STEPS, "fixed_point": 1, **settings})
    made = build_method(config, run)
    assert isinstance(made, BackgroundAware)
    return made


@pytest.fixture(scope="module")
def request_(run: Run) -> Request:
    source = surface(ROWS, SIZE)
    masks = np.zeros((ROWS, SIZE, SIZE), np.uint8)
    for row in range(ROWS):
        masks[row, 8 + 3 * row : 24 + 3 * row, 10 + row : 30 + row] = 1
    normal = ("cloth",) * ROWS
    trajectory = Inverter(method(run).backbone, STEPS, 1, ROWS)(source, normal)
    seeds, prompts = np.arange(ROWS, dtype=np.int64) + 100, tuple(f"a hole {row % 3}" for row in range(ROWS))
    return Request(source, masks, seeds, ("",) * ROWS, prompts, normal, trajectory)


def rows_of(request: Request, rows: list[int]) -> Request:
    def text(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(values[row] for row in rows)

    return Request(
        request.source[rows],
        request.mask[rows],
        request.seed[rows],
        text(request.recipe),
        text(request.prompt),
        text(request.normal_prompt),
        None if request.trajectory is None else request.trajectory[rows],
    )


def background(z: torch.Tensor, request: Request) -> torch.Tensor:
    return z[~latent_mask(request.mask, 8).expand_as(z)]


# card 001 7.8
@pytest.mark.parametrize("mode", MODES)
def test_only_the_dilated_mask_changes(run: Run, request_: Request, mode: str) -> None:
    made = method(run, mode=mode)(request_)
    assert made.error == ("",) * ROWS
    assert made.image.shape == request_.source.shape
    assert made.image.dtype == made.label.dtype == np.uint8
    for row in range(ROWS):
        outside = refine.dilate(request_.mask[row], 3) == 0
        np.testing.assert_array_equal(made.image[row][outside], request_.source[row][outside])
        assert (made.image[row] != request_.source[row]).any()
        assert (made.label[row][outside] == 0).all()
    assert (made.background_error > 0).all()


def test_without_composite_the_decoded_image_comes_out(run: Run, request_: Request) -> None:
    made = method(run, composite=False)(request_)
    outside = refine.dilate(request_.mask[0], 3) == 0
    error = np.abs(made.image[0][outside].astype(float) - request_.source[0][outside]).mean()
    assert made.background_error[0] == pytest.approx(error, rel=1e-4) != 0


@pytest.mark.parametrize("mode", MODES)
def test_a_row_is_the_same_bytes_in_any_company(run: Run, request_: Request, mode: str) -> None:
    build = method(run, mode=mode)
    whole_batch = build(request_)
    for rows in ([7, 2, 5, 0, 1, 6, 4, 3], [4] * 8, [1, 1, 3, 3, 6, 6, 2, 2]):
        made = build(rows_of(request_, rows))
        np.testing.assert_array_equal(made.image, whole_batch.image[rows])
        np.testing.assert_array_equal(made.label, whole_batch.label[rows])
        np.testing.assert_array_equal(made.background_error, whole_batch.background_error[rows])


def test_seed_and_prompt_decide_the_defect(run: Run, request_: Request) -> None:
    build = method(run)
    first = build(request_).image
    assert not np.array_equal(first, build(replace(request_, seed=request_.seed + 1)).image)
    z = build.latents(request_).made
    assert not torch.equal(z, build.latents(replace(request_, prompt=("a scratch",) * ROWS)).made)


# card 001 7.4: replay
def test_replay_leaves_the_background_latent_exactly(run: Run, request_: Request) -> None:
    latents = method(run).latents(request_)
    assert request_.trajectory is not None
    z0 = torch.from_numpy(request_.trajectory[:, 0]).float()
    assert torch.equal(background(latents.made, request_), background(z0, request_))
    assert torch.equal(latents.reconstruction, z0)


# card 001 7.2
def test_two_pass_background_knows_nothing_of_the_defect(run: Run, request_: Request) -> None:
    first = method(run, mode="two_pass").latents(request_).made
    build = method(run, mode="two_pass", guidance=2.5)
    noise = build._noise
    build._noise = lambda seeds, purpose, like: noise(seeds + (purpose == "defect"), purpose, like)  # type: ignore[method-assign]
    other = build.latents(replace(request_, prompt=("something else",) * ROWS)).made
    assert torch.equal(background(first, request_), background(other, request_))
    assert not torch.equal(first, other)


# card 001 7.2, negative control
def test_a_network_that_sees_the_defect_leaks_it(run: Run, request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.diffusion.regional.hole_view", lambda m, filler: whole)
    build = method(run, mode="two_pass")
    first = build.latents(request_).made
    other = build.latents(replace(request_, seed=request_.seed + 1)).made
    assert (background(first, request_) - background(other, request_)).abs().max() > 0.01


# card 001 7.3
def test_two_pass_background_equals_plain_reconstruction(run: Run, request_: Request) -> None:
    """Inversion and reconstruction without any defect, with the same hole."""
    build = method(run, mode="two_pass")
    backbone, m = build.backbone, latent_mask(request_.mask, 8)
    z0, text = backbone.encode(request_.source), backbone.embed_prompts(request_.normal_prompt)
    view = hole_view(m, row_noise(request_.seed.tolist(), "background_aware/hole", z0.shape[1:]))
    noisy = invert(lambda z, level: backbone.predict(z, level.time, text), z0, build.levels, 1, view)[:, -1]
    plain = sample(lambda z, level: backbone.predict(view(z, level), level.time, text), noisy, build.levels)
    latents = build.latents(request_)
    assert torch.equal(background(latents.made, request_), background(plain, request_))
    assert torch.equal(background(latents.reconstruction, request_), background(plain, request_))
    assert torch.equal(latents.reconstruction[m.expand_as(z0)], z0[m.expand_as(z0)])


@pytest.mark.parametrize(
    ("settings", "evaluations"),
    [
        ({}, 2 * STEPS),
        ({"guidance": 1.0}, STEPS),
        ({"t_start": 0.6}, 2 * 2),
        ({"mode": "two_pass"}, 2 * STEPS + STEPS + 2 * STEPS),
        ({"mode": "two_pass", "fixed_point": 0, "guidance": 1.0, "hole_fill": "zero"}, 3 * STEPS),
    ],
)
def test_evaluations_are_those_that_the_network_saw(
    run: Run, request_: Request, settings: dict[str, Any], evaluations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = method(run, **settings)
    seen: list[int] = []
    forward = build.backbone.unet.forward

    def spy(z: torch.Tensor, *args: object, **kwargs: object) -> object:
        seen.append(len(z))
        return forward(z, *args, **kwargs)

    monkeypatch.setattr(build.backbone.unet, "forward", spy)
    made = build(request_)
    assert made.evaluations.dtype == np.int32
    assert made.evaluations.tolist() == [evaluations] * ROWS
    assert sum(seen) == evaluations * ROWS


def test_guidance_of_one_is_the_text_alone_and_more_moves_away_from_the_empty_text(run: Run, request_: Request) -> None:
    images = [method(run, guidance=guidance).latents(request_).made for guidance in (1.0, 1.0 + 1e-6, 5.0)]
    assert (images[0] - images[1]).abs().max() < 1e-3
    assert (images[0] - images[2]).abs().max() > 1e-3


def test_a_late_start_stays_nearer_to_the_source(run: Run, request_: Request) -> None:
    assert request_.trajectory is not None
    z0 = torch.from_numpy(request_.trajectory[:, 0]).float()
    moved = [(method(run, t_start=share).latents(request_).made - z0).square().mean() for share in (1.0, 0.34)]
    assert 0 < moved[1] < moved[0]


def test_a_bad_row_fails_alone(run: Run, request_: Request) -> None:
    assert request_.trajectory is not None
    build = method(run)
    wanted = build(request_)
    trajectory, mask = request_.trajectory.copy(), request_.mask.copy()
    trajectory[2, 1, 0, 0, 0] = np.nan
    mask[5] = 0
    made = build(replace(request_, trajectory=trajectory, mask=mask))
    assert made.error[2].startswith("latents or pixels are not finite")
    assert made.error[5].startswith("the target mask is empty")
    good = [row for row in range(ROWS) if row not in (2, 5)]
    assert [made.error[row] for row in good] == [""] * len(good)
    np.testing.assert_array_equal(made.image[good], wanted.image[good])


# card 001 7.9: nothing to see is refused
def test_a_defect_that_cannot_be_seen_is_objected_to(
    run: Run, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.diffusion.regional.replay", lambda defect, trajectory, *_: trajectory[:, 0])
    made = method(run)(request_)
    assert made.objection == ("no_visible_defect",) * ROWS
    assert made.label.sum() == 0
    assert made.error == ("",) * ROWS


def test_replay_without_its_trajectory_is_a_mistake_of_the_caller(run: Run, request_: Request) -> None:
    assert method(run).needs_trajectory
    assert not method(run, mode="two_pass").needs_trajectory
    with pytest.raises(ValueError, match=r"replay needs a trajectory of 4 levels; found none"):
        method(run)(replace(request_, trajectory=None))
    with pytest.raises(ValueError, match=r"found 3 levels"):
        method(run)(replace(request_, trajectory=request_.trajectory[:, :3]))


@pytest.fixture(scope="module")
def adapter(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An adapter that has learned something, with a word for "hole"."""
    backbone = method(run).backbone.private()
    backbone.add_lora(rank=2, seed=0)
    for parameter in backbone.lora_parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    backbone.add_token("<hole>", like="hole", seed=0)
    card = {"kind": "background_aware", "base": {"path": run.model.path, "fingerprint": backbone.fingerprint}}
    url = str(tmp_path_factory.mktemp("adapter"))
    write_adapter(url, take_adapter(backbone, whole_unet=False), {**card, "settings": {}})
    return url


# card 001 7.4: replay, with a network that did not make the trajectory
def test_replay_with_an_adapter_keeps_the_base_models_trajectory(run: Run, request_: Request, adapter: str) -> None:
    plain, fitted = method(run), method(run, adapter=adapter)
    assert fitted.backbone is not plain.backbone
    latents, before = fitted.latents(request_), plain.latents(request_)
    assert request_.trajectory is not None
    z0 = torch.from_numpy(request_.trajectory[:, 0]).float()
    assert torch.equal(background(latents.made, request_), background(z0, request_))
    assert torch.equal(latents.reconstruction, z0)
    assert (latents.made - before.made).abs().amax(dim=(1, 2, 3)).min() > 1e-2
    assert latents.evaluations == before.evaluations
    assert torch.equal(plain.latents(request_).made, before.made)


def test_trajectories_are_shared_by_all_adapters(run: Run, adapter: str) -> None:
    configs = [BackgroundAwareConfig(), BackgroundAwareConfig(adapter=adapter), BackgroundAwareConfig(fit={"rank": 4})]
    assert len({inversion_key(run, config, "model") for config in configs}) == 1


def test_arms_with_the_same_trajectories_share_blocks_over_all_their_sources(tmp_path: Path) -> None:
    arms = [
        {"kind": "background_aware", "name": name, "steps": steps, "sources": sources}
        for name, steps, sources in (("few", 3, 4), ("some", 3, 5), ("longer", 4, 4))
    ]
    run = make_run(make_tree(tmp_path / "plates"), tmp_path / "run", methods=[{"kind": "rules"}, *arms])
    folder, plan = prepare(run)
    few, some, longer = (InversionBlocks(folder, plan, arm["name"], "model") for arm in arms)
    wanted = {photo.photo_id for arm in ("few", "some") for photo in plan.sources[arm]}
    assert len(wanted) > 5
    assert [photo.photo_id for photo in few.photos(0)] == [
        photo.photo_id for photo in plan.photos.train if photo.photo_id in wanted
    ]
    assert few.photos(0) == some.photos(0)
    assert longer.photos(0) == plan.sources["longer"]
    few.write(0, {photo.photo_id: np.zeros((4, 2, 8, 8), np.float16) for photo in few.photos(0)}, {}, {})
    assert few.is_done(0)
    assert some.is_done(0)
    assert not longer.is_done(0)
    assert all(some.trajectory(photo.photo_id).shape == (4, 2, 8, 8) for photo in plan.sources["some"])


# card 001 7.2, 7.3
def test_two_pass_with_an_adapter_inverts_and_samples_with_it(run: Run, request_: Request, adapter: str) -> None:
    build = method(run, mode="two_pass", adapter=adapter)
    first = build.latents(request_).made
    other = build.latents(replace(request_, prompt=("something else",) * ROWS)).made
    assert torch.equal(background(first, request_), background(other, request_))
    unfitted = method(run, mode="two_pass").latents(request_).made
    assert not torch.equal(background(first, request_), background(unfitted, request_))


def test_the_text_of_a_fitted_defect_ends_in_its_learned_word(
    run: Run, request_: Request, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = method(run, adapter=adapter)
    asked: list[str] = []
    embed = build.backbone.embed_prompts
    monkeypatch.setattr(build.backbone, "embed_prompts", lambda prompts: (asked.extend(prompts), embed(prompts))[1])
    build.latents(replace(request_, prompt=("a hole", "a scratch") * (ROWS // 2)))
    assert set(asked) == {"a hole <hole>", "a scratch", "cloth", ""}


def test_an_adapter_of_another_model_is_refused(run: Run, adapter: str, tmp_path: Path) -> None:
    other = tiny_backbone_folder(tmp_path / "other", seed=1)
    backbone = load_backbone(ModelConfig(path=str(other)), ComputeConfig())
    config = BackgroundAwareConfig(adapter=adapter)
    with pytest.raises(WeightsError, match=f"this run's model has fingerprint {backbone.fingerprint}"):
        BackgroundAware(config, run, backbone)


def test_a_method_that_is_not_fitted_yet_says_so(run: Run, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"adapters/background_aware: holds no adapter .* Run 'farm fit CONFIG' first"
    ):
        build_method(BackgroundAwareConfig(fit={}), run.model_copy(update={"output": str(tmp_path)}))


def test_tensors_that_do_not_fit_are_refused(run: Run) -> None:
    config = BackgroundAwareConfig()
    for name, tensor in (("unet.conv_in.weight", torch.zeros(3)), ("token.<hole>", torch.zeros(5))):
        with pytest.raises(WeightsError, match=r"adapter: .*fit it on this base model"):
            BackgroundAware(config, run, adapter={name: tensor})
    with pytest.raises(WeightsError, match=r"adapter: .* tensor\(s\) do not fit"):
        BackgroundAware(config, run, adapter={"lora.x.lora_A.weight": torch.zeros(2, 3)})
