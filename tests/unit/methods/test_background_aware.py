"""Card 001 section 7 on a random U-Net of the real class: promises that hold for any weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farm.config import BackgroundAwareConfig, Run, parse
from farm.diffusion.ddim import invert, sample, whole
from farm.diffusion.inversion import Inverter
from farm.diffusion.latents import latent_mask, row_noise
from farm.diffusion.regional import hole_view
from farm.methods import build_method, refine
from farm.methods.background_aware import BackgroundAware
from farm.methods.base import Request
from tests.tiny import surface

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


def test_replay_leaves_the_background_latent_exactly(run: Run, request_: Request) -> None:
    latents = method(run).latents(request_)
    assert request_.trajectory is not None
    z0 = torch.from_numpy(request_.trajectory[:, 0]).float()
    assert torch.equal(background(latents.made, request_), background(z0, request_))
    assert torch.equal(latents.reconstruction, z0)


def test_two_pass_background_knows_nothing_of_the_defect(run: Run, request_: Request) -> None:
    """Card 001 test 2."""
    first = method(run, mode="two_pass").latents(request_).made
    build = method(run, mode="two_pass", guidance=2.5)
    noise = build._noise
    build._noise = lambda seeds, purpose, like: noise(seeds + (purpose == "defect"), purpose, like)  # type: ignore[method-assign]
    other = build.latents(replace(request_, prompt=("something else",) * ROWS)).made
    assert torch.equal(background(first, request_), background(other, request_))
    assert not torch.equal(first, other)


def test_a_network_that_sees_the_defect_leaks_it(run: Run, request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """Card 001 test 2, negative control."""
    monkeypatch.setattr("farm.diffusion.regional.hole_view", lambda m, filler: whole)
    build = method(run, mode="two_pass")
    first = build.latents(request_).made
    other = build.latents(replace(request_, seed=request_.seed + 1)).made
    assert (background(first, request_) - background(other, request_)).abs().max() > 0.01


def test_two_pass_background_equals_plain_reconstruction(run: Run, request_: Request) -> None:
    """Card 001 test 3: inversion and reconstruction without any defect, with the same hole."""
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
