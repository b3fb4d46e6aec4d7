"""Card 004 sections 4, 6 and 7: pasted pairs, and the training of the control branch alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farm.config import Run
from farm.datasets import load_photos
from farm.errors import ConfigError, DataError
from farm.fitting.adabldm import ControlTask
from farm.fitting.adabldm_pairs import Cutout, cut_out, paste, place
from farm.fitting.build import build_task
from farm.fitting.loop import Fit
from farm.fitting.shots import load_shots
from farm.fitting.task import Part, generator
from farm.methods.adabldm import AdaBldm
from farm.methods.adabldm_trimap import trimap

SIDE = 48


def defect() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A red L on grey, and its mask; it reaches the photograph's last row and column."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[30:, 40:43] = mask[45:, 36:] = 1
    image = np.full((SIDE, SIDE, 3), 120, np.uint8)
    image[mask == 1] = (220, 10, 10)
    return image, mask


def normal() -> np.ndarray[Any, Any]:
    return np.full((SIDE, SIDE, 3), 60, np.uint8)


def draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_cut_out_keeps_its_last_row_and_column() -> None:
    image, mask = defect()
    cutout = cut_out(image, mask)
    assert cutout.mask.shape == (18, 12)
    assert cutout.mask[-1].all()
    assert cutout.mask[:, -1].any()
    assert cutout.mask.sum() == mask.sum()
    np.testing.assert_array_equal(cutout.image[cutout.mask == 1], image[mask == 1])


# card 004 7.1
@pytest.mark.parametrize("seed", range(8))
def test_a_pasted_defect_is_whole_and_inside_the_foreground(seed: int) -> None:
    part = np.zeros((SIDE, SIDE), bool)
    part[4:40, 8:47] = True
    image, mask = paste(normal(), part, cut_out(*defect()), draw(seed), 360.0, (0.85, 1.15))
    area = int(cut_out(*defect()).mask.sum())
    assert 0.6 * 0.85**2 * area < mask.sum() < 1.3 * 1.15**2 * area
    assert (mask.astype(bool) <= part).all()
    np.testing.assert_array_equal(image[mask == 0], normal()[mask == 0])
    assert (np.abs(image[mask == 1].astype(int) - (220, 10, 10)).max(axis=1) <= 110).all()
    hint = trimap(mask[None], part[None])
    assert set(hint.unique().tolist()) == {0.0, 0.5, 1.0}


def test_without_turn_and_scale_the_very_pixels_are_moved() -> None:
    cutout = cut_out(*defect())
    for seed in range(5):
        image, mask = paste(normal(), np.ones((SIDE, SIDE), bool), cutout, draw(seed), 0.0, (1.0, 1.0))
        moved = cut_out(image, mask)
        np.testing.assert_array_equal(moved.mask, cutout.mask)
        np.testing.assert_array_equal(moved.image[moved.mask == 1], cutout.image[cutout.mask == 1])


def test_turns_sizes_and_places_are_all_drawn() -> None:
    part = np.ones((SIDE, SIDE), bool)
    pasted = [paste(normal(), part, cut_out(*defect()), draw(seed))[1] for seed in range(40)]
    areas = np.array([mask.sum() for mask in pasted]) / cut_out(*defect()).mask.sum()
    assert areas.min() < 0.85
    assert areas.max() > 1.15
    tall = [np.subtract(*mask_box.shape) > 0 for mask_box in (cut_out(normal(), mask).mask for mask in pasted)]
    assert {True, False} <= set(tall)
    assert sum(mask.astype(int) for mask in pasted).astype(bool).mean() > 0.6


# card 004 7.8
def test_a_defect_that_is_too_large_is_shrunk_until_it_fits() -> None:
    cutout = Cutout(np.zeros((40, 60, 3), np.uint8), np.ones((40, 60), np.uint8))
    part = np.zeros((SIDE, SIDE), bool)
    part[10:20, 10:22] = True
    moved = place(part, cutout.mask, draw(0), 360.0, (0.85, 1.15))
    assert 4 <= moved.mask.sum() <= part.sum()
    _, mask = paste(normal(), part, cutout, draw(0))
    assert (mask.astype(bool) <= part).all()
    assert mask.any()


# card 004 7.8
def test_a_defect_that_can_never_fit_ends_as_a_pixel() -> None:
    scattered = np.zeros((SIDE, SIDE), np.uint8)
    scattered[::6, ::6] = 1
    part = np.zeros((SIDE, SIDE), bool)
    part[7, 9] = part[30, 41] = True
    image, mask = paste(normal(), part, cut_out(np.full((SIDE, SIDE, 3), 9, np.uint8), scattered), draw(0))
    assert mask.sum() == 1
    assert (mask.astype(bool) <= part).all()
    assert (image[mask == 1] == 9).all()


def test_an_empty_foreground_is_the_whole_picture() -> None:
    assert paste(normal(), np.zeros((SIDE, SIDE), bool), cut_out(*defect()), draw(0))[1].any()


@pytest.fixture
def arm(make: Callable[..., Run]) -> Callable[..., Run]:
    """Runs with one ``adabldm`` arm; settings of its ``fit`` and of the arm may be given."""

    def build(fit: dict[str, Any] | None = None, **settings: Any) -> Run:
        loop = {"steps": 6, "batch_size": 4, "lr": 1e-3, "warmup": 1, "checkpoint_every": 6, "bf16": False}
        method = {"kind": "adabldm", "steps": 10, "fit": {"loop": loop, **(fit or {})}, **settings}
        return make(methods=[method])

    return build


def task_of(run: Run) -> ControlTask:
    task = build_task(run.model_dump_json(), "adabldm")
    assert isinstance(task, ControlTask)
    return task


def term(task: ControlTask, step: int = 0, part: Part | None = None) -> dict[str, torch.Tensor]:
    return task.loss(step, generator(0, "test", step), part or Part())


# card 004 7.2
def test_a_fresh_branch_adds_nothing_and_a_step_moves_the_branch_alone(arm: Callable[..., Run]) -> None:
    task = task_of(arm())
    z, times = torch.randn(2, 4, 8, 8), torch.tensor([10, 700])
    text, hint = task.text[torch.tensor([1, 1])], torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(task.predict(z, times, text, hint), task.backbone.predict(z, times, text))
    networks = (task.backbone.unet, task.backbone.vae, *task.backbone.prompts.encoders)
    before = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
    branch = {name: value.detach().clone() for name, value in task.networks["control"].named_parameters()}
    fit = Fit(task, task.fit.loop, 0)
    fit.advance()
    fit.advance()
    for network, values in zip(networks, before, strict=True):
        assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
    moved = {
        name for name, value in task.networks["control"].named_parameters() if not torch.equal(value, branch[name])
    }
    assert any(name.startswith("controlnet_down_blocks") for name in moved)
    assert any(name.startswith("controlnet_mid_block") for name in moved)
    with torch.no_grad():
        assert not torch.equal(task.predict(z, times, text, hint), task.backbone.predict(z, times, text))


def test_the_loss_is_the_mean_square_of_the_noise_left(
    arm: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(arm({"drop_text": 0.0}))
    seen: dict[str, Any] = {}

    def predict(z: torch.Tensor, times: torch.Tensor, text: Any, hint: torch.Tensor) -> torch.Tensor:
        seen.update(z=z, times=times, text=text, hint=hint)
        return torch.zeros_like(z)

    monkeypatch.setattr(task, "predict", predict)
    terms = term(task)
    draw_ = generator(0, "test", 0)
    seeds = torch.randint(2**62, (4,), generator=draw_)
    which = torch.randint(2, (4,), generator=draw_)
    times = torch.randint(1000, (4,), generator=draw_)
    noise = torch.randn((4, 4, 8, 8), generator=draw_)
    images, masks, parts = task.pairs(seeds.tolist(), which.tolist())
    abar = task.abar[times][:, None, None, None]
    z = abar.sqrt() * task.backbone.encode(images) + (1 - abar).sqrt() * noise
    torch.testing.assert_close(seen["z"], z.float())
    assert torch.equal(seen["times"], times)
    assert torch.equal(seen["hint"], trimap(masks, parts))
    assert set(seen["hint"].unique().tolist()) == {0.5, 1.0}
    assert torch.equal(seen["text"].states, task.backbone.embed_prompts(["a disc"] * 4).states)
    assert terms["loss"].item() == pytest.approx(noise.square().mean().item(), rel=1e-5)


def test_the_defects_cells_can_weigh_more(arm: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(arm({"inside_weight": 2.0}))
    monkeypatch.setattr(task, "predict", lambda z, *_: torch.zeros_like(z))
    terms = term(task)
    draw_ = generator(0, "test", 0)
    seeds, which = torch.randint(2**62, (4,), generator=draw_), torch.randint(2, (4,), generator=draw_)
    torch.randint(1000, (4,), generator=draw_)
    square = torch.randn((4, 4, 8, 8), generator=draw_).square().mean(1)
    _, masks, _ = task.pairs(seeds.tolist(), which.tolist())
    cells = torch.from_numpy(masks).reshape(4, 8, 8, 8, 8).amax(dim=(2, 4)) > 0
    assert 0 < cells.float().mean() < 0.5
    assert terms["inside"].item() == pytest.approx(square[cells].mean().item(), rel=1e-5)
    assert terms["whole"].item() == pytest.approx(square.mean().item(), rel=1e-5)
    assert terms["loss"].item() == pytest.approx(square.mean().item() + 2 * square[cells].mean().item(), rel=1e-5)


def test_text_is_dropped_at_its_share_and_never_read_by_the_branch(
    arm: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(arm({"drop_text": 0.5}))
    empty, full = task.backbone.embed_prompts(["", "a disc"]).states
    read: list[torch.Tensor] = []
    branch_read: list[Any] = []

    def predict(z: torch.Tensor, times: Any, text: Any, residuals: Any) -> torch.Tensor:
        read.extend(text.states)
        return torch.zeros_like(z)

    monkeypatch.setattr(task.backbone, "predict", predict)
    monkeypatch.setattr(task.backbone, "control_residuals", lambda *given: branch_read.append(given[3]))
    for step in range(25):
        term(task, step)
    dropped = sum(torch.equal(state, empty) for state in read)
    assert dropped + sum(torch.equal(state, full) for state in read) == 100
    assert 30 < dropped < 70
    assert branch_read == [None] * 25


def test_parts_share_a_batch(arm: Callable[..., Run]) -> None:
    task = task_of(arm())
    whole = term(task)["loss"].item()
    halves = [term(task, part=Part(index, 2))["loss"].item() for index in range(2)]
    assert np.mean(halves) == pytest.approx(whole, rel=1e-4)
    assert halves[0] != halves[1]


def test_training_lowers_the_loss_and_the_adapter_travels(arm: Callable[..., Run]) -> None:
    run = arm()
    task = task_of(run)
    before = np.mean([term(task, step)["loss"].item() for step in range(4)])
    fit = Fit(task, task.fit.loop.model_copy(update={"steps": 30}), 0)
    for _ in range(30):
        fit.advance()
    after = np.mean([term(task, step)["loss"].item() for step in range(4)])
    assert after < before
    adapter = task.adapter()
    other = task_of(run)
    other.load(adapter)
    assert np.mean([term(other, step)["loss"].item() for step in range(4)]) == pytest.approx(after, rel=1e-4)
    made = AdaBldm(task.config, run, task.backbone, adapter)
    assert all(torch.equal(value, adapter[f"control.{name}"]) for name, value in made.branch.state_dict().items())


def test_the_sample_grid_shows_source_mask_image_and_label(arm: Callable[..., Run]) -> None:
    grid = task_of(arm()).show(2)
    assert grid.shape == (2 * 66, 4 * 66, 3)
    assert grid.dtype == np.uint8
    assert set(np.unique(grid[:64, 66:130])) == {0, 255}
    assert not np.array_equal(grid[:64, :64], grid[:64, 132:196])


def test_pairs_depend_on_their_seed_alone(arm: Callable[..., Run]) -> None:
    task = task_of(arm())
    images, masks, _ = task.pairs([5, 6, 7], [0, 1, 0])
    again, _, _ = task.pairs([7, 5], [0, 0])
    np.testing.assert_array_equal(again, images[[2, 0]])
    assert not np.array_equal(masks[0], masks[2])


# card 004 7.9
def test_what_is_learned_from_is_never_what_is_tested_on(arm: Callable[..., Run], tree: Path) -> None:
    run = arm()
    photos = load_photos(run.data)
    shots = load_shots(run, photos, run.methods[0])
    tested = {photo.photo_id for photo in photos.test}
    assert shots.ids
    assert not tested & set(shots.ids)
    listed = {line.strip() for line in (tree / "few_shot.txt").read_text().splitlines()}
    assert {photo.relative for photo in photos.shots} == listed
    assert not listed & {photo.relative for photo in photos.test}
    copied = tree / "test" / "disc" / "005.png"
    copied.write_bytes((tree / "test" / "disc" / "000.png").read_bytes())
    with pytest.raises(DataError, match="in two splits"):
        task_of(run)


def test_nothing_to_learn_is_said(arm: Callable[..., Run], make: Callable[..., Run]) -> None:
    run = arm()
    photos = load_photos(run.data)
    task = task_of(run)
    shots = load_shots(run, photos, run.methods[0])
    bare = task.config.model_copy(update={"fit": None})
    with pytest.raises(ConfigError, match="has no 'fit'"):
        ControlTask(bare, run, task.backbone, shots)
