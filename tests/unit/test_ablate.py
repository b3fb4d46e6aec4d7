"""An ablation: what each arm learns from, that it goes on where it stopped, and that the table's gains are gains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.ablate import ARMS, STAGE1, arm_materials, arm_settings, place, seeds_of, train_arm
from farm.ablation_table import BASE, DRAWS, HALF, NORMALS, WHOLE, Line, advice, arms_of, gain, score_arm, table
from farm.config import Run
from farm.detector.feed import Feed
from farm.detector.two_stage import stage_batch
from farm.errors import ConfigError, DataError, RunError
from farm.images import decode_image
from farm.run_folder import RunFolder
from tests.loop import run_in_a_loop
from tests.photos import make_run, make_tree

STAGE = {"steps": 2, "batch_size": 4, "lr": 1e-3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"), test=3)


def judged(root: Path, output: Path, **changes: Any) -> Run:
    """A judged run of which about half is refused as too small."""
    masks = {"min_area": 0.001, "max_area": 0.05}
    tree: dict[str, Any] = {
        "rows": 24,
        "methods": [{"kind": "rules", "recipes": ["noise"], "masks": masks}],
        "embed": {"kind": "pixels"},
        "filter": {"near_duplicate": 1.0, "low_margin": 0.9, "min_changed_area": 0.015, "max_grain": 100.0},
        "train": {"detector": {"width": 4}, "stage1": STAGE, "stage2": {**STAGE, "lr": 1e-4}},
    }
    run = make_run(root, output, **(tree | changes))
    run_in_a_loop(run)
    return run


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, RunFolder]:
    run = judged(root, tmp_path_factory.mktemp("runs") / "run")
    return run, RunFolder(run.output)


def kept_of(folder: RunFolder) -> int:
    return int(np.asarray(folder.verdicts()["keep"]).sum())


def test_each_arm_learns_from_its_own_images(made: tuple[Run, RunFolder]) -> None:
    run, folder = made
    kept = kept_of(folder)
    assert 4 < kept < 20
    counts = {}
    for arm in ARMS:
        images = arm_materials(run, folder, arm).kept
        counts[arm] = 0 if images is None else len(images)
    assert counts == {
        "rules": 0,
        "few_shot": 2,
        "generated": kept,
        "half": -(-kept // 2),
        "filtered": kept,
        "unfiltered": 24,
    }
    shown = arm_materials(run, folder, "few_shot").kept
    assert shown is not None
    assert decode_image(shown.image_png[0].as_py(), "shot").shape == (64, 64, 3)


def test_every_arm_learns_as_many_steps_as_any_other(made: tuple[Run, RunFolder]) -> None:
    run, _ = made
    for arm, spec in ARMS.items():
        train = arm_settings(run, arm, 7).train
        steps = train.stage2.steps + (train.stage1.steps if spec.two_stages else 0)
        assert steps == run.train.stage1.steps + run.train.stage2.steps
        assert train.seed == 7
        assert train.stage2.lr == (run.train.stage2.lr if spec.two_stages else run.train.stage1.lr)


@pytest.mark.parametrize(
    ("arm", "kinds"),
    [
        ("rules", {"normal", "rules"}),
        ("few_shot", {"normal", "generated"}),
        ("filtered", {"normal", "rules", "generated"}),
    ],
)
def test_what_the_steps_of_an_arm_show(made: tuple[Run, RunFolder], arm: str, kinds: set[str]) -> None:
    train = arm_settings(made[0], arm, 0).train
    assert {kind for step in range(20) for kind in stage_batch(train, "stage2", step, range(4)).kind} == kinds


def test_an_arm_of_generated_images_shows_defects(made: tuple[Run, RunFolder]) -> None:
    run, folder = made
    settings = arm_settings(run, "few_shot", 0)
    feed = Feed(settings, arm_materials(settings, folder, "few_shot"))
    draws = stage_batch(settings.train, "stage2", 0, range(4))
    label = feed(draws).label
    assert [part.any() for part in label] == [kind == "generated" for kind in draws.kind]


def test_two_stages_start_from_stage_ones_weights_and_nothing_is_learned_twice(root: Path, tmp_path: Path) -> None:
    run = judged(root, tmp_path / "run", rows=8)
    folder = RunFolder(run.output)
    with pytest.raises(RunError, match=r"the arm 'filtered' starts from stage 1's weights; learn 'stage1' first"):
        train_arm(run, folder, "filtered", 0)
    start = train_arm(run, folder, STAGE1, 0)
    still = run.model_copy(
        update={"train": run.train.model_copy(update={"stage2": run.train.stage2.model_copy(update={"steps": 0})})}
    )
    train_arm(still, folder, STAGE1, 0)
    assert train_arm(still, folder, "filtered", 0) == train_arm(still, folder, STAGE1, 0)
    weights = train_arm(run, folder, "filtered", 0)
    assert weights != start
    name = f"{place(run, folder, 'filtered', 0)}/model.safetensors"
    folder.store.write(name, b"kept")
    assert train_arm(run, folder, "filtered", 0) == b"kept", "read, not learned again"
    folder.store.remove(name)
    assert train_arm(run, folder, "filtered", 0) == weights, "the same bytes once more"
    assert place(run, folder, "filtered", 0) != place(run, folder, "filtered", 1)


def test_an_arm_without_images_says_so(root: Path, tmp_path: Path) -> None:
    run = judged(root, tmp_path / "run", rows=4, filter={"min_changed_area": 0.3})
    with pytest.raises(DataError, match=r"the arm 'filtered' has no image to learn from; leave it out"):
        arm_materials(run, RunFolder(run.output), "filtered")


def test_scores_are_kept_and_draws_are_around_the_metric(made: tuple[Run, RunFolder]) -> None:
    run, folder = made
    found = score_arm(run, folder, NORMALS, 0)
    assert score_arm(run, folder, NORMALS, 0) == found
    assert found["metrics"]["n_good"] == 3
    assert len(found["draws"]["pixel_ap"]) == DRAWS
    draws = np.array(found["draws"]["pixel_ap"], float)
    assert np.nanmin(draws) <= found["metrics"]["pixel_ap"] <= np.nanmax(draws)
    train_arm(run, folder, STAGE1, 0)
    assert 0 <= score_arm(run, folder, "filtered", 0)["metrics"]["pixel_ap"] <= 1


def numbers(value: float, spread: float = 0.02) -> dict[str, Any]:
    noise = np.random.default_rng(0).normal(0, spread, DRAWS)
    metrics = ("image_auroc", "image_ap", "pixel_ap", "aupro")
    return {"metrics": dict.fromkeys(metrics, value), "draws": {name: (value + noise).tolist() for name in metrics}}


def test_a_gain_is_that_of_means_over_seeds_on_the_same_test_sets() -> None:
    found = {(BASE, 0): numbers(0.5), (BASE, 1): numbers(0.6), (WHOLE, 0): numbers(0.7), (WHOLE, 1): numbers(0.6)}
    value, low, high = gain(found, BASE, WHOLE, "pixel_ap", [0, 1])
    assert (value, low, high) == pytest.approx((0.1, 0.1, 0.1)), "equal noise cancels"
    lines = table(found, [BASE, WHOLE], [0, 1])
    assert lines[0] == Line(BASE, {name: pytest.approx((0.55, 0.5, 0.6)) for name in found[BASE, 0]["metrics"]}, {})
    assert lines[1].values["aupro"] == pytest.approx((0.65, 0.6, 0.7))
    assert lines[1].gains["aupro"][0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("half", "whole", "told"),
    [(0.5, 0.6, "generating more should pay"), (0.6, 0.5, "it cost"), (0.5, 0.5, "no evidence")],
)
def test_advice_follows_the_interval(half: float, whole: float, told: str) -> None:
    assert told in advice({(HALF, 0): numbers(half), (WHOLE, 0): numbers(whole)}, [0])


def test_arms_that_a_run_cannot_have_are_left_out(made: tuple[Run, RunFolder], root: Path, tmp_path: Path) -> None:
    assert arms_of(made[1]) == [NORMALS, *ARMS]
    assert arms_of(made[1], ["unfiltered", NORMALS]) == [arm for arm in ARMS if arm != "unfiltered"]
    with pytest.raises(ConfigError, match=r"there is no arm 'best'; the arms are normals, rules, few_shot"):
        arms_of(made[1], ["best"])
    from farm.prepare import prepare

    few = make_tree(tmp_path / "bare", shots=0)
    assert "few_shot" not in arms_of(prepare(make_run(few, tmp_path / "bare-run"))[0])
    learns_sources = make_run(root, tmp_path / "draem", train={"detector": {"kind": "draem"}})
    assert "few_shot" not in arms_of(prepare(learns_sources)[0])


def test_seeds_begin_with_the_runs_own(made: tuple[Run, RunFolder]) -> None:
    assert seeds_of(made[0], 3) == [made[0].train.seed + step for step in range(3)]
