"""Card 001 section 4 and 7: the loss, its masks, and that a training lowers both terms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from farm.config import Run
from farm.diffusion.latents import latent_mask
from farm.errors import ConfigError, WeightsError
from farm.fitting.background_aware import BackgroundAwareTask, noised, region_error, turned
from farm.fitting.build import build_task
from farm.fitting.loop import Fit
from farm.fitting.task import Part, generator
from farm.methods.background_aware import BackgroundAware
from tests.tiny import noise

M = torch.zeros(2, 1, 6, 6, dtype=torch.bool)
M[0, 0, 1:3, 2:5] = True
M[1, 0, 5, 0] = True
INSIDE = M.expand(2, 4, 6, 6)
ABAR = torch.tensor([0.9, 0.2], dtype=torch.float64)


def task_of(run: Run) -> BackgroundAwareTask:
    task = build_task(run.model_dump_json(), "background_aware")
    assert isinstance(task, BackgroundAwareTask)
    return task


def step(task: BackgroundAwareTask, number: int = 0, part: Part | None = None) -> dict[str, torch.Tensor]:
    return task.loss(number, generator(0, "test", number), part or Part())


# card 001 7.5
def test_each_term_pulls_on_its_own_region_alone() -> None:
    for region in (M, ~M):
        predicted, wanted = noise(2, 4, 6, 6).requires_grad_(), noise(2, 4, 6, 6, seed=1)
        region_error(predicted, wanted, region).sum().backward()
        assert predicted.grad is not None
        assert (predicted.grad[~region.expand_as(predicted)] == 0).all()
        assert (predicted.grad[region.expand_as(predicted)] != 0).all()


# card 001 7.5
def test_the_background_term_knows_nothing_of_what_was_in_the_hole() -> None:
    z0, filler = noise(2, 4, 6, 6), noise(2, 4, 6, 6, seed=2)
    eps = noise(2, 4, 6, 6, seed=1)
    hidden = noised(z0, eps, filler, M, ABAR)[1]
    for other in (torch.zeros_like(z0), 1e6 * noise(2, 4, 6, 6, seed=3), torch.full_like(z0, float("nan"))):
        seen, same = noised(torch.where(M, other, z0), torch.where(M, other, eps), filler, M, ABAR)
        assert torch.equal(same, hidden)
        assert not torch.equal(seen[INSIDE], hidden[INSIDE])


def test_the_hole_is_at_its_level_and_the_rest_is_the_noised_latent() -> None:
    z0, eps, filler = (noise(2, 4, 6, 6, seed=seed) for seed in range(3))
    seen, hidden = noised(z0, eps, filler, M, ABAR)
    level = ABAR[:, None, None, None]
    torch.testing.assert_close(seen, level.sqrt() * z0 + (1 - level).sqrt() * eps)
    assert torch.equal(hidden[~INSIDE], seen[~INSIDE])
    torch.testing.assert_close(hidden[INSIDE], ((1 - level).sqrt() * filler)[INSIDE])


def test_a_region_counts_by_its_mean_and_an_empty_one_for_nothing() -> None:
    predicted, wanted = torch.zeros(2, 4, 6, 6), torch.ones(2, 4, 6, 6)
    wanted[0, :, 1:3, 2:5] = 3
    torch.testing.assert_close(region_error(predicted, wanted, M), torch.tensor([9.0, 1.0]))
    assert region_error(predicted, wanted, torch.zeros_like(M)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("flips", "count"),
    [
        ((), 1),
        (("horizontal",), 2),
        (("horizontal", "vertical"), 4),
        (("quarter_turns",), 4),
        (("horizontal", "quarter_turns"), 8),
        (("horizontal", "vertical", "quarter_turns"), 8),
    ],
)
def test_positions_are_each_there_once_and_begin_with_the_shot(flips: tuple[str, ...], count: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 6, 6, 3), dtype=np.uint8)
    made = turned(images, flips)
    np.testing.assert_array_equal(made[0], images)
    assert len(made) == len({position.tobytes() for position in made}) == count
    masks = turned(images[..., 0], flips)
    for position, mask in zip(made, masks, strict=True):
        np.testing.assert_array_equal(position[..., 0], mask)


def test_latents_and_masks_of_every_position_are_encoded_once(make: Callable[..., Run]) -> None:
    task = task_of(make())
    positions, masks = turned(task.shots.images, task.fit.flips), turned(task.shots.masks, task.fit.flips)
    assert task.latents.shape == (8, 4, 8, 8)
    for index, (images, mask) in enumerate(zip(positions, masks, strict=True)):
        rows = slice(2 * index, 2 * index + 2)
        torch.testing.assert_close(task.latents[rows], task.backbone.encode(images), rtol=0, atol=1e-6)
        assert torch.equal(task.masks[rows], latent_mask(mask, 8))


class Seen:
    """What the network was asked in one step: the two halves of the batch."""

    def __init__(self, task: BackgroundAwareTask, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[tuple[Any, ...]] = []
        predict = task.backbone.predict
        monkeypatch.setattr(task.backbone, "predict", lambda *args: (calls.append(args), predict(*args))[1])
        self.terms = step(task)
        ((z, times, text, regions),) = calls
        self.seen, self.hidden = z.chunk(2)
        self.times = times.chunk(2)
        self.length = text.states.shape[1] // 2
        self.first, self.second = text.states[:, : self.length].chunk(2), text.states[:, self.length :].chunk(2)
        self.m, self.m_hidden = regions[z.shape[-1] ** 2].reshape(len(z), 1, *z.shape[2:]).chunk(2)


def test_the_loss_is_the_terms_of_the_two_passes(make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """C1 is read inside the mask only, C2 outside and everywhere in the second pass, which sees no defect."""
    task = task_of(make({"background_weight": 2.5, "drop_text": 0.0, "loop": {"batch_size": 3}}))
    asked = Seen(task, monkeypatch)
    terms = asked.terms
    torch.testing.assert_close(terms["loss"].detach(), terms["defect"] + 2.5 * terms["background"])
    assert torch.equal(*asked.times)
    normal = task.backbone.embed_prompts(["a plate"] * 3).states
    assert torch.equal(asked.first[0], task.backbone.embed_prompts(["a disc <disc>"] * 3).states)
    assert all(torch.equal(states, normal) for states in (*asked.second, asked.first[1]))
    inside = asked.m.expand_as(asked.seen)
    assert asked.m.any(dim=(1, 2, 3)).all()
    assert not asked.m_hidden.any()
    assert torch.equal(asked.seen[~inside], asked.hidden[~inside])
    assert (asked.seen[inside] != asked.hidden[inside]).all()


def test_a_dropped_row_reads_empty_texts_as_guidance_has_them(
    make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(make({"drop_text": 1.0, "loop": {"batch_size": 2}}))
    asked = Seen(task, monkeypatch)
    empty, normal = (task.backbone.embed_prompts([text] * 2).states for text in ("", "a plate"))
    assert torch.equal(asked.first[0], empty)
    assert torch.equal(asked.second[0], empty)
    assert torch.equal(asked.second[1], normal)


def test_zero_holes_are_trained_as_they_are_sampled(make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    method = {"kind": "background_aware", "hole_fill": "zero", "fit": {"loop": {"batch_size": 2}}}
    asked = Seen(task_of(make(methods=[method])), monkeypatch)
    assert (asked.hidden[asked.m.expand_as(asked.hidden)] == 0).all()


def test_parts_of_a_batch_add_up_to_the_whole(make: Callable[..., Run]) -> None:
    task = task_of(make({"loop": {"batch_size": 4}}))
    with torch.no_grad():
        whole, parts = step(task), [step(task, part=Part(index, 2)) for index in range(2)]
    for name, value in whole.items():
        torch.testing.assert_close((parts[0][name] + parts[1][name]) / 2, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("whole_unet", [False, True])
def test_only_what_is_learned_gets_a_gradient(make: Callable[..., Run], whole_unet: bool) -> None:
    run = make({"rank": 2, "whole_unet": whole_unet, "token_lr": 0.5, "loop": {"batch_size": 2}})
    task = task_of(run)
    step(task)["loss"].backward()
    groups: list[Any] = task.groups(0.25)
    learned = [parameter for group in groups for parameter in group["params"]]
    assert [group["lr"] for group in groups] == [0.25, 0.5]
    assert groups[1]["weight_decay"] == 0
    assert groups[1]["params"][0].grad.abs().max() > 0
    with_gradient = {id(parameter) for network in (task.backbone.unet, task.backbone.text_encoder)
                     for parameter in network.parameters() if parameter.grad is not None}  # fmt: skip
    assert with_gradient == {id(parameter) for parameter in learned}
    assert {id(value) for value in task.networks.parameters()} == with_gradient
    size = sum(tensor.numel() for tensor in task.networks.state_dict().values())
    assert (size < 10_000) != whole_unet
    assert all(parameter.grad is None for parameter in task.backbone.vae.parameters())


# card 001 7.10
def test_two_hundred_steps_lower_both_terms(make: Callable[..., Run]) -> None:
    loop = {"steps": 200, "batch_size": 2, "lr": 3e-3, "warmup": 10, "ema": 0.9, "bf16": False}
    task = task_of(make({"whole_unet": True, "loop": loop}, size_px=32))
    before = measured(task)
    fit = Fit(task, task.fit.loop, seed=0)
    fit.run(lambda _: None)
    fit.finished()
    after = measured(task)
    assert after["defect"] < 0.5 * before["defect"]
    assert after["background"] < 0.5 * before["background"]


@torch.no_grad()
def measured(task: BackgroundAwareTask) -> dict[str, float]:
    """Both terms over the same 32 batches."""
    terms = [step(task, number) for number in range(32)]
    return {name: float(torch.stack([one[name] for one in terms]).mean()) for name in ("defect", "background")}


@pytest.mark.parametrize("whole_unet", [False, True])
def test_an_adapter_is_all_that_was_learned(make: Callable[..., Run], whole_unet: bool) -> None:
    run = make({"rank": 2, "whole_unet": whole_unet, "loop": {"batch_size": 2, "steps": 2, "lr": 0.01, "bf16": False}})
    task, other = task_of(run), task_of(run)
    Fit(task, task.fit.loop, seed=0).run(lambda _: None)
    with torch.no_grad():
        trained, fresh = step(task)["loss"], step(other)["loss"]
        assert trained != fresh
        other.load(task.adapter())
        assert torch.equal(step(other)["loss"], trained)
    method = BackgroundAware(task.config, run, adapter=task.adapter())
    text = method.backbone.embed_prompts(["a disc <disc>"])
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        method.backbone.predict(z, 300, text), task.backbone.predict(z, 300, text), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(WeightsError, match=r"tensor control\.x is none of lora, unet, token"):
        other.load({"control.x": torch.zeros(1)})


def test_the_grid_shows_source_mask_image_and_label(make: Callable[..., Run]) -> None:
    task = task_of(make())
    shown = task.show(3)
    assert shown.shape == (3 * 66, 4 * 66, 3)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[:64, :64], task.shots.normals[0])
    np.testing.assert_array_equal(shown[:64, 66:130, 0] == 255, task.shots.masks[0] == 1)
    inside = task.shots.masks[0] == 1
    assert (shown[:64, 132:196][inside] != task.shots.normals[0][inside]).any()


def test_a_text_that_hides_the_learned_word_is_refused(make: Callable[..., Run]) -> None:
    long = {"normal": "a plate", "defects": [{"name": "disc", "prompt": "a disc on a plate of steel"}]}
    with pytest.raises(
        ConfigError, match="text of 'disc' and its learned word are 23 tokens long; this model reads 16"
    ):
        task_of(make(prompts=long))
    twins = [{"name": "disc", "prompt": "a disc"}, {"name": "dent", "prompt": "a disc"}]
    with pytest.raises(ConfigError, match="'disc' has the text of another defect, 'a disc'"):
        task_of(make(prompts={"normal": "a plate", "defects": twins}))
