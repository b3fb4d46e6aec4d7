"""Card 003 section 4 and 7: what the two branches learn from, and that they learn it."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from farm.config import DualConfig, DualFit, Run
from farm.diffusion.backbone import load_backbone
from farm.diffusion.ddim import add_noise
from farm.diffusion.latents import to_unit
from farm.errors import ConfigError, WeightsError
from farm.fitting.build import build_task
from farm.fitting.dual import DualTask, allowed_flips, anomaly_part
from farm.fitting.loop import Fit
from farm.fitting.shots import Shots, turned
from farm.fitting.task import Part, generator
from farm.images import Pixels
from farm.methods.base import Request
from farm.methods.dual import Dual
from farm.methods.dual_mask import part_mask
from tests.photos import plate
from tests.tiny import surface

LOOP = {"steps": 6, "batch_size": 4, "lr": 0.01, "warmup": 0, "bf16": False}


def task_of(make: Callable[..., Run], fit: dict[str, Any] | None = None, **changes: Any) -> DualTask:
    method = {"kind": "dual", "steps": 3, "fit": {"rank": 3, "text_rank": 2, "loop": LOOP} | (fit or {})} | changes
    task = build_task(make(methods=[method]).model_dump_json(), "dual")
    assert isinstance(task, DualTask)
    return task


def step(task: DualTask, number: int = 0, part: Part | None = None) -> dict[str, torch.Tensor]:
    return task.loss(number, generator(0, "test", number), part or Part())


# card 003, 7.7
def test_the_part_is_mid_grey_where_the_mask_is_not_and_the_image_where_it_is() -> None:
    unit, mask = to_unit(surface(2, 32)), torch.zeros(2, 1, 32, 32)
    mask[:, :, 4:9, 5:12] = 1
    part = anomaly_part(unit, mask)
    outside = (mask == 0).expand_as(unit)
    assert (part[outside] == 0).all()
    assert torch.equal(part[~outside], unit[~outside])


# card 003, 7.7
def test_images_and_masks_turn_together() -> None:
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[0, 2:5, 3:9], masks[1, 9:14, 1:3] = 1, 1
    images = np.repeat(masks[..., None] * np.uint8(200), 3, axis=3)
    flips = ("horizontal", "vertical", "quarter_turns")
    for image, mask in zip(turned(images, flips), turned(masks, flips), strict=True):
        assert ((image[..., 0] == 200) == (mask == 1)).all()


def test_a_cable_is_not_flipped_and_a_tile_is() -> None:
    assert allowed_flips(DualFit(), "cable") == ()
    assert allowed_flips(DualFit(by_category=False), "cable") == ("horizontal", "vertical")
    assert allowed_flips(DualFit(flips=("vertical",)), "tile") == ("vertical",)


def test_every_position_of_a_shot_is_learned_from(make: Callable[..., Run]) -> None:
    assert len(task_of(make).whole) == len(task_of(make).part) == 2 * 4
    assert len(task_of(make, fit={"flips": []}).whole) == 2


# card 003, 7.6
def test_both_branches_get_one_time_and_noises_of_their_own(
    make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, seen = task_of(make), {}

    def look(z: torch.Tensor, time: torch.Tensor, text: Any, memory: Any) -> torch.Tensor:
        seen.update(z=z, time=time, text=text, memory=memory)
        return torch.zeros_like(z)

    monkeypatch.setattr(task.network, "predict", look)
    task.whole = task.part = torch.zeros_like(task.whole)
    terms = step(task)
    assert torch.equal(seen["time"][0::2], seen["time"][1::2])
    assert len(set(seen["time"].tolist())) > 1
    level = (1 - task.abar[seen["time"]]).sqrt().float()[:, None, None, None]
    noise = seen["z"] / level
    assert not torch.allclose(noise[0::2], noise[1::2], atol=0.5)
    assert float(terms["whole"]) == pytest.approx(float(noise[0::2].square().mean()), rel=1e-4)
    assert float(terms["part"]) == pytest.approx(float(noise[1::2].square().mean()), rel=1e-4)


# card 003, 7.6
def test_the_loss_is_the_mean_of_the_branches(make: Callable[..., Run]) -> None:
    terms = {name: value.detach() for name, value in step(task_of(make)).items()}
    assert float(terms["loss"]) == pytest.approx(float(terms["whole"] + terms["part"]) / 2, rel=1e-6)


def test_parts_of_a_batch_have_the_mean_of_the_whole(make: Callable[..., Run]) -> None:
    task = task_of(make)
    parts = [float(step(task, 2, Part(index, 2))["loss"].detach()) for index in range(2)]
    assert sum(parts) / 2 == pytest.approx(float(step(task, 2)["loss"].detach()), rel=1e-5)


def test_the_background_is_noised_to_the_same_time(make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen = task_of(make, background=True, texture=False), {}
    assert task.bare is not None
    remember = task.network.remember
    monkeypatch.setattr(
        task.network, "remember", lambda z, time, text: seen.update(z=z, time=time) or remember(z, time, text)
    )
    step(task)
    assert len(seen["z"]) == len(seen["time"]) == 4
    draw = generator(0, "test", 0)
    rows, times = torch.randint(len(task.whole), (4,), generator=draw), torch.randint(1000, (4,), generator=draw)
    third = torch.randn((3, 4, *task.whole.shape[1:]), generator=draw)[2]
    assert torch.equal(seen["time"], times)
    torch.testing.assert_close(seen["z"], add_noise(task.bare[rows], third, task.abar[times]))


# card 003, 7.9
def test_training_moves_what_was_added_and_nothing_else(make: Callable[..., Run]) -> None:
    task = task_of(make)
    frozen = {
        name: value.clone() for name, value in task.network.backbone.unet.state_dict().items() if "lora" not in name
    }
    before = task.adapter()
    Fit(task, task.fit.loop, 0).run(lambda _fit: None)
    assert all(torch.equal(value, frozen[name]) for name, value in task.network.backbone.unet.state_dict().items())
    moved = {name for name, value in task.adapter().items() if not torch.equal(value, before[name])}
    assert {name.rsplit(".", 1)[-1] for name in moved} >= {"up", "down", "weight"}
    assert any(name.startswith("text.") for name in moved)


def test_an_adapter_goes_back_into_a_task_and_a_method(make: Callable[..., Run]) -> None:
    task, other = task_of(make), task_of(make)
    Fit(task, task.fit.loop, 0).run(lambda _fit: None)
    state = task.adapter()
    other.load(state)
    assert all(torch.equal(value, state[name]) for name, value in other.adapter().items())
    assert float(step(other)["loss"].detach()) == float(step(task)["loss"].detach())
    with pytest.raises(WeightsError, match="do not fit"):
        task_of(make, fit={"rank": 2}).load(state)


def test_shots_of_two_defects_are_refused(make: Callable[..., Run]) -> None:
    task = task_of(make)
    shots = type(task.shots)(**{**vars(task.shots), "defects": ("disc", "dent")})
    with pytest.raises(ConfigError, match="learns one defect; found shots of dent, disc"):
        DualTask(task.config, task.run, task.network.backbone, shots)


def test_the_grid_shows_shot_image_part_and_mask(make: Callable[..., Run]) -> None:
    picture = task_of(make).show(2)
    assert picture.shape == (2 * 66, 4 * 66, 3)
    assert (picture[:64, :64] != 128).any()


# card 003, 7.10
def test_one_pair_is_learned_by_heart(make: Callable[..., Run]) -> None:
    loop = {"steps": 300, "batch_size": 2, "lr": 0.005, "warmup": 0, "bf16": False, "ema": 0.9}
    fit = {"rank": 8, "text_rank": 2, "flips": [], "loop": loop}
    run = make(methods=[{"kind": "dual", "steps": 10, "guidance": 1.0, "fit": fit}], model={"path": "embedded"})
    image, mask = plate(5), np.zeros((64, 64), np.uint8)
    cv2.circle(mask, (36, 28), 13, 1, -1)
    image[mask == 1] = 235
    shots = Shots(image[None], mask[None], ("disc",), ("a disc",), ("5",), image[:0][None], ())
    config = run.methods[0]
    assert isinstance(config, DualConfig)
    task = DualTask(config, run, load_backbone(run.model, run.compute).private(), shots)
    loss, agreed = mean_loss(task), agreement(task, plate(5))
    learned = Fit(task, task.fit.loop, 0)
    learned.run(lambda _fit: None)
    learned.finished()
    assert mean_loss(task) < 0.5 * loss
    assert agreement(task, plate(5)) > max(agreed, 0.5)


@torch.no_grad()
def mean_loss(task: DualTask) -> float:
    """Over 16 draws that no step of the training has."""
    return float(
        np.mean([float(task.loss(0, generator(1, "held out", number), Part())["loss"]) for number in range(16)])
    )


def agreement(task: DualTask, background: Pixels) -> float:
    """IoU of the part's mask and of where the whole image differs from ``background``, over 4 samples."""
    seeds, blank = np.arange(4, dtype=np.int64), ("",) * 4
    shot = np.repeat(task.shots.images[:1], 4, axis=0)
    whole, part, _ = Dual.of(task.config, task.network).pictures(
        Request(shot, shot[..., 0], seeds, blank, blank, blank)
    )
    bare = to_unit(background[None])[0]
    found = []
    for one, other in zip(whole, part, strict=True):
        mask, changed = (part_mask(x.permute(1, 2, 0).numpy(), 0.08) for x in (other, one - bare))
        found.append((mask & changed).sum() / max(1, (mask | changed).sum()))
    return float(np.mean(found))
