"""Training on a real local Ray: two workers equal one, a killed worker costs nothing, and nothing is done twice."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from cluster.evaluate import evaluate_stage, is_evaluated
from cluster.train import is_trained, train_stage
from farm.config import Run
from farm.detector.checkpoint import from_bytes
from farm.detector.feed import Feed
from farm.detector.loop import Loop
from farm.detector.materials import read_kept, read_kept_normals, read_materials
from farm.detector.model import build_detector
from farm.detector.two_stage import stage_batch
from farm.errors import RunError
from farm.evaluate import evaluate_detector
from farm.images import encode_mask, encode_png
from farm.prepare import prepare
from farm.run_folder import RunFolder
from farm.source_index import read_index
from tests.photos import make_run, make_tree

pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(600)]

STEPS, EVERY = 12, 3
TOLERANCE = 2e-4  # of a weight; Adam turns rounding of tiny gradients into steps of the learning rate (3e-4)


def make_training(root: Path, output: Path, workers: int = 2, steps: int = STEPS) -> Run:
    """Workers and makers leave a fifth of a CPU: a task of Ray's own that nobody counted would wait for ever."""
    stage = {"steps": steps, "batch_size": 4, "checkpoint_every": EVERY}
    return make_run(
        root,
        output,
        methods=[{"kind": "rules", "recipes": ["noise", "copy_paste"]}],
        train={"detector": {"width": 8}, "stage1": stage, "stage2": {**stage, "steps": 4, "lr": 1e-4}},
        cluster={
            "num_cpus": 4,
            "shard_rows": 10,
            "train": {"actors": workers, "cpus": 3 / workers},
            "rules": {"actors": 2, "cpus": 0.4},
        },
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"))


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, RunFolder, dict[str, Any]]:
    """Stage 1 learned by two workers without any disturbance."""
    run = make_training(root, tmp_path_factory.mktemp("two") / "run")
    folder, _ = prepare(run)
    return run, folder, train_stage(run, folder, "stage1")


def weights(folder: RunFolder, stage: str = "stage1") -> dict[str, torch.Tensor]:
    return load_file(folder.store.local(f"detectors/{stage}/model.safetensors"))


def test_the_card_says_what_was_learned(trained: tuple[Run, RunFolder, dict[str, Any]]) -> None:
    run, folder, card = trained
    assert (card["steps"], len(card["losses"]), card["skipped"]) == (STEPS, STEPS, False)
    assert sum(card["losses"][-4:]) < sum(card["losses"][:4])
    assert is_trained(run, folder, "stage1")
    assert not list(folder.store.names("train")) or not any(
        name.endswith((".png", ".parquet")) for name in folder.store.names("train")
    )


def test_a_finished_stage_is_left_alone(
    trained: tuple[Run, RunFolder, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder, card = trained
    before = {path: path.stat().st_mtime_ns for path in folder.store.local("detectors").rglob("*")}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished stage was trained again")

    monkeypatch.setattr("cluster.train._fit", refuse)
    assert train_stage(run, folder, "stage1") == {**card, "skipped": True}
    assert {path: path.stat().st_mtime_ns for path in folder.store.local("detectors").rglob("*")} == before


def test_a_lost_card_is_written_again_from_the_last_checkpoint(
    trained: tuple[Run, RunFolder, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder, card = trained

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("steps that were done were done again")

    monkeypatch.setattr("cluster.train._trainer", refuse)
    written = folder.store.read("detectors/stage1/card.json")
    folder.store.local("detectors/stage1/card.json").unlink()
    assert train_stage(run, folder, "stage1")["sha256"] == card["sha256"]
    assert folder.store.read("detectors/stage1/card.json") == written


def test_one_worker_with_whole_batches_learns_the_same(
    trained: tuple[Run, RunFolder, dict[str, Any]], root: Path, tmp_path: Path
) -> None:
    run = make_training(root, tmp_path / "run", workers=1)
    folder, _ = prepare(run)
    card = train_stage(run, folder, "stage1")
    assert card["fingerprint"] == trained[2]["fingerprint"]
    assert card["losses"] == pytest.approx(trained[2]["losses"], rel=2e-3)
    one, two = weights(folder), weights(trained[1])
    assert max((one[name] - two[name]).abs().max().item() for name in one) < TOLERANCE


def test_a_worker_killed_in_the_middle_costs_nothing_but_an_interval(
    trained: tuple[Run, RunFolder, dict[str, Any]], root: Path, tmp_path: Path
) -> None:
    run = make_training(root, tmp_path / "run")
    folder, _ = prepare(run)
    killed, over = [], threading.Event()

    def kill() -> None:
        while not killed and not over.wait(0.02):
            if not list((tmp_path / "run" / "train").glob("stage1-*/checkpoint_manager_snapshot.json")):
                continue
            mine = [p for p in psutil.process_iter(["cmdline"]) if "ray::RayTrainWorker" in str(p.info["cmdline"])]
            for process in mine[-1:]:
                os.kill(process.pid, signal.SIGKILL)
                killed.append(process.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        card = train_stage(run, folder, "stage1")
    finally:
        over.set()
        killer.join()
    assert len(killed) == 1
    assert card["costs"]["steps"] in (STEPS - EVERY, STEPS - 2 * EVERY, STEPS - 3 * EVERY)
    assert card["losses"] == trained[2]["losses"]
    assert folder.store.read("detectors/stage1/model.safetensors") == trained[1].store.read(
        "detectors/stage1/model.safetensors"
    )


def test_every_test_photograph_is_scored_once_by_three_tasks(trained: tuple[Run, RunFolder, dict[str, Any]]) -> None:
    run, folder, _ = trained
    pools = run.cluster.model_copy(update={"evaluate": run.cluster.evaluate.model_copy(update={"actors": 3})})
    metrics = evaluate_stage(run.model_copy(update={"cluster": pools}), folder, "stage1")
    scores = folder.store.read("evaluation/stage1/scores.parquet")
    assert is_evaluated(run, folder, "stage1")
    assert (metrics["n_good"], metrics["n_defect"]) == (4, 4)
    assert evaluate_detector(run, folder, "stage1") == metrics
    assert folder.store.read("evaluation/stage1/scores.parquet") == scores


def judge(run: Run, folder: RunFolder, keep: bool) -> None:
    """Ten candidates with a bright corner by two methods, two of them normals, all kept or all refused."""
    rows = np.arange(run.rows)
    image, mask = np.full((64, 64, 3), 90, np.uint8), np.zeros((64, 64), np.uint8)
    image[:9, :9], mask[:9, :9] = 230, 1
    names = {"sample_id": [f"sample{row}" for row in rows], "method": ["rules", "other"] * 5, "defect": ["disc"] * 10}
    names["kind"] = ["defect"] * 8 + ["normal"] * 2
    pictures = {"image_png": [encode_png(image)] * 10, "label_png": [encode_mask(mask)] * 10}
    folder.write_shard(0, pa.table({"row": rows, **names, **pictures}), {})
    verdicts = pa.table({"row": rows, "keep": [keep] * run.rows})
    folder.write_table(folder.verdict_name("verdicts.parquet"), verdicts)


def test_stage_2_is_refused_before_the_run_is_judged(trained: tuple[Run, RunFolder, dict[str, Any]]) -> None:
    run, folder, _ = trained
    with pytest.raises(RunError, match="is not judged yet"):
        train_stage(run, folder, "stage2")


def test_without_a_kept_image_stage_2_is_stage_1_to_the_bit(
    trained: tuple[Run, RunFolder, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder, _ = trained

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("there is nothing to learn from")

    monkeypatch.setattr("cluster.train._fit", refuse)
    judge(run, folder, keep=False)
    card = train_stage(run, folder, "stage2")
    assert (card["generated"], card["steps"], card["losses"]) == (0, 0, [])
    assert folder.store.read("detectors/stage2/model.safetensors") == folder.store.read(
        "detectors/stage1/model.safetensors"
    )
    assert is_trained(run, folder, "stage2")


def test_stage_2_starts_from_stage_1_and_equals_a_plain_loop(trained: tuple[Run, RunFolder, dict[str, Any]]) -> None:
    run, folder, _ = trained
    judge(run, folder, keep=True)
    assert not is_trained(run, folder, "stage2")
    card = train_stage(run, folder, "stage2")
    assert (card["generated"], card["steps"]) == (10, 4)

    kept, normals = read_kept(folder), read_kept_normals(folder)
    assert (len(kept), len(normals)) == (8, 2)
    feed = Feed(run, read_materials(run, read_index(folder), kept, normals))
    model = build_detector(run.train.detector, seed=77)
    from_bytes(model, folder.store.read("detectors/stage1/model.safetensors"), "stage1")
    losses = Loop(model, run.train.stage2).run(
        feed(stage_batch(run.train, "stage2", step, range(4))) for step in range(4)
    )
    assert card["losses"] == pytest.approx(losses, rel=2e-3)
    found = weights(folder, "stage2")
    assert max((found[name] - value).abs().max().item() for name, value in model.state_dict().items()) < TOLERANCE
    assert max((found[name] - value).abs().max().item() for name, value in weights(folder).items()) > 1e-5
