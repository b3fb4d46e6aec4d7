"""Card 003 sections 5 and 6: samples of the two branches, as a method of the farm."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from farm.config import DualConfig, Run
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.latents import encode
from farm.errors import ConfigError
from farm.methods import dual_mask
from farm.methods.base import Request
from farm.methods.dual import Dual, fill
from farm.methods.refine import dilate
from farm.plan import Plan
from tests.photos import make_run, make_tree
from tests.tiny import surface

SIDE, EASY = 64, {"min_area": 0.0, "max_area": 1.0, "max_disagreement": 1.0, "part_floor": 0.0}
TWO = {"normal": "a plate", "defects": [{"name": "disc", "prompt": "a disc"}, {"name": "dent", "prompt": "a dent"}]}


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("dual")
    tree = make_tree(place / "plates")
    return make_run(tree, place / "run", model={"path": str(folder)}, methods=[{"kind": "dual", "steps": 4}])


@pytest.fixture(scope="module")
def backbone(run: Run) -> Backbone:
    return load_backbone(run.model, run.compute)


def method(run: Run, backbone: Backbone, **settings: Any) -> Dual:
    return Dual(DualConfig(**({"steps": 4} | EASY | settings)), run, backbone)


def request(seeds: list[int], source_seed: int = 0) -> Request:
    count, blank = len(seeds), ("",) * len(seeds)
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    return Request(surface(count, SIDE, source_seed), masks, np.array(seeds, np.int64), blank, blank, blank)


def test_a_row_is_the_same_whatever_its_neighbours(run: Run, backbone: Backbone) -> None:
    made, alone = (method(run, backbone)(request(seeds)) for seeds in ([3, 4, 5], [3, 9, 9]))
    assert (made.image[0] == alone.image[0]).all()
    assert (made.label[0] == alone.label[0]).all()
    assert (made.image[1] != alone.image[1]).any()
    assert made.error == ("",) * 3


# card 003, 7.6
def test_the_two_branches_start_from_noises_of_their_own(run: Run, backbone: Backbone) -> None:
    told = {"whole_prompt": "sks", "part_prompt": "sks", "start": "noise"}
    whole, part, _ = method(run, backbone, **told).pictures(request([3]))
    assert not torch.allclose(whole, part, atol=0.05)


def test_the_start_has_the_means_of_source_and_ground_and_the_noise_of_the_row(run: Run, backbone: Backbone) -> None:
    seen: dict[str, list[torch.Tensor]] = {"marginal": [], "noise": []}
    for start in ("marginal", "noise"):
        made = method(run, backbone, start=start)
        made.network.backbone.unet.register_forward_pre_hook(
            lambda _module, inputs, start=start: seen[start].append(inputs[0][:2].clone())
        )
        made.pictures(request([3]))
    starts = {start: latents[0] for start, latents in seen.items()}
    abar, asked = made.levels[-1].abar, request([3])
    grey = encode(backbone.vae, torch.zeros(1, 3, SIDE, SIDE))
    shown = torch.cat([backbone.encode(asked.source), grey])
    means = starts["marginal"].mean((-2, -1))
    assert torch.allclose(means, abar**0.5 * shown.mean((-2, -1)), atol=1e-5)
    noise = starts["noise"] - starts["noise"].mean((-2, -1), keepdim=True)
    wanted = abar**0.5 * shown + (1 - abar) ** 0.5 * noise
    assert torch.allclose(starts["marginal"], wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "evaluations"),
    [({}, 4 * 4), ({"guidance": 1.0}, 4 * 2), ({"background": True, "texture": False}, 4 * 6)],
)
def test_evaluations_count_every_row_of_the_network(
    run: Run, backbone: Backbone, settings: dict[str, Any], evaluations: int
) -> None:
    network, rows = backbone.private(), []
    made = method(run, network, **settings)
    made.network.backbone.unet.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0])))
    assert made(request([1, 2])).evaluations.tolist() == [evaluations] * 2
    assert sum(rows) == 2 * evaluations


def test_without_compositing_the_image_is_new_and_is_compared_with_itself_less_its_defect(
    run: Run, backbone: Backbone
) -> None:
    asked = request([3, 4])
    made = method(run, backbone)(asked)
    assert made.reference is not None
    for image, label, reference, source in zip(made.image, made.label, made.reference, asked.source, strict=True):
        around = dilate(label, 3) == 0
        assert label.any()
        assert (image[around] == reference[around]).all()
        assert (image != source).mean() > 0.9
    assert (made.background_error > 5).all()


def test_compositing_takes_the_masked_pixels_and_no_other(run: Run, backbone: Backbone) -> None:
    asked = request([3, 4])
    made, plain = method(run, backbone, composite=True)(asked), method(run, backbone)(asked)
    assert made.reference is None
    for image, label, source, whole in zip(made.image, made.label, asked.source, plain.image, strict=True):
        assert (image[dilate(label, 3) == 0] == source[dilate(label, 3) == 0]).all()
        assert (image[label == 1] == whole[label == 1]).all()


def test_only_the_background_of_the_source_is_read_and_only_where_asked(run: Run, backbone: Backbone) -> None:
    plain = [method(run, backbone, start="noise").pictures(request([3], source))[0] for source in (0, 1)]
    assert torch.equal(*plain)
    with_background = method(run, backbone, start="noise", background=True, texture=False)
    for layer in with_background.network.layers.values():
        if layer.compensation is not None:
            layer.compensation.weight.data.fill_(0.5)
    grounds = []
    for grey in (200, 150):
        source = np.full((1, SIDE, SIDE, 3), grey, np.uint8)
        source[0, 20:44, 20:44] = 40
        grounds.append(with_background.pictures(replace(request([3]), source=source))[0])
    assert not torch.equal(*grounds)


def test_a_row_that_is_not_finite_fails_alone(run: Run, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    made = method(run, backbone)
    whole, part, evaluations = made.pictures(request([3, 4]))
    part[1, 0, 0, 0] = float("nan")
    monkeypatch.setattr(made, "pictures", lambda _request: (whole, part, evaluations))
    result = made(request([3, 4]))
    assert [bool(error) for error in result.error] == [False, True]


def test_a_part_that_shows_nothing_is_refused(run: Run, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Dual(DualConfig(steps=4), run, backbone)
    whole, part, evaluations = made.pictures(request([3]))
    monkeypatch.setattr(made, "pictures", lambda _request: (whole, torch.zeros_like(part), evaluations))
    assert made(request([3])).objection == (dual_mask.NO_PART,)


def test_what_is_filled_in_is_the_label_and_its_rim() -> None:
    image = surface(1, SIDE)[0]
    label = np.zeros((SIDE, SIDE), np.uint8)
    label[20:30, 20:30] = 1
    spoiled = image.copy()
    spoiled[20:30, 20:30] = 255
    filled = fill(spoiled, label, 3)
    assert (filled[dilate(label, 3) == 0] == image[dilate(label, 3) == 0]).all()
    assert np.abs(filled[20:30, 20:30].astype(int) - image[20:30, 20:30]).mean() < 60
    assert (fill(image, np.zeros_like(label), 3) == image).all()


def test_prompts_are_nested() -> None:
    with pytest.raises(ValueError, match="part_prompt must be part of whole_prompt"):
        DualConfig(whole_prompt="a plate", part_prompt="a disc")


def test_an_arm_makes_one_defect_and_each_stands_for_all(run: Run, tmp_path: Path) -> None:
    known = {"prompts": TWO, "model": run.model.model_dump()}
    tree = make_tree(tmp_path / "plates")
    each = make_run(tree, tmp_path / "run", methods=[{"kind": "dual", "defect": "each"}], **known)
    assert each.arm_names() == ["dual_disc", "dual_dent"]
    assert Run.model_validate_json(each.model_dump_json()) == each
    with pytest.raises(ConfigError, match="needs a 'defect' of"):
        make_run(tree, tmp_path / "run", methods=[{"kind": "dual"}], **known)
    with pytest.raises(ConfigError, match=r"'rust', which is not in prompts\.defects"):
        make_run(tree, tmp_path / "run", methods=[{"kind": "dual", "defect": "rust"}], **known)


def test_the_plan_asks_an_arm_for_its_defect_alone(tmp_path: Path) -> None:
    from farm.datasets import load_photos

    each = make_run(
        make_tree(tmp_path / "p"), tmp_path / "run", methods=[{"kind": "dual", "defect": "each"}], prompts=TWO
    )
    plan = Plan(each, load_photos(each.data), "model")
    rows = [plan.row(number) for number in range(20)]
    assert {(row["method"], row["defect"]) for row in rows} == {("dual_disc", "disc"), ("dual_dent", "dent")}
    assert {row["prompt"] for row in rows} == {"a vfx with sks"}
    assert {row["kind"] for row in rows} == {"defect"}
