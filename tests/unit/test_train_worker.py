"""A training worker in this process: what it reports, and that a resume chooses the same weights."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.train
import ray.train.torch
import torch

from cluster.feed import Maker, chunks
from cluster.train_worker import train_worker
from farm.config import Run
from farm.datasets import load_photos
from farm.detector.checkpoint import read_progress
from farm.detector.feed import Feed
from farm.detector.materials import stage_materials
from farm.detector.validation import BEST
from farm.run_folder import RunFolder
from farm.source_index import write_index
from tests.photos import make_run, make_tree

STEPS, EVERY = 4, 2


class Workers:
    """Stands for Ray Train with one worker: feeds it, and keeps the checkpoints that it reports."""

    def __init__(self, run: Run, folder: Path, first: int = 0, last: Path | None = None) -> None:
        self.run, self.folder, self.first, self.last = run, folder, first, last

    def iter_batches(self, **_: Any) -> Iterator[Any]:
        import pyarrow as pa

        maker = Maker.__new__(Maker)
        maker.run, maker.stage = self.run, "stage1"
        maker.feed = Feed(self.run, stage_materials(self.run, RunFolder(self.run.output), "stage1"))
        return (maker(pa.Table.from_pylist([vars(chunk)])) for chunk in chunks(self.run, "stage1", self.first))

    def report(self, metrics: dict[str, Any], checkpoint: Any = None, checkpoint_dir_name: str = "") -> None:
        with checkpoint.as_directory() as local:
            target = self.folder / checkpoint_dir_name
            target.mkdir(parents=True)
            for file in Path(local).iterdir():
                (target / file.name).write_bytes(file.read_bytes())

    def learn(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder of the last checkpoint."""
        last = ray.train.Checkpoint.from_directory(self.last) if self.last else None
        context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
        for name, value in (
            ("get_checkpoint", lambda: last),
            ("get_context", lambda: context),
            ("get_dataset_shard", lambda _: self),
            ("report", self.report),
        ):
            monkeypatch.setattr(ray.train, name, value)
        monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
        monkeypatch.setattr(ray.train.torch, "prepare_model", lambda model, **_: model)
        train_worker({"run": self.run.model_dump_json(), "url": self.run.output, "stage": "stage1"})
        return self.folder / f"step-{STEPS:08d}"


def make(tmp_path: Path, share: float) -> Run:
    stage = {"steps": STEPS, "batch_size": 4, "checkpoint_every": EVERY, "accumulate": 2}
    run = make_run(
        make_tree(tmp_path / "plates"),
        tmp_path / "run",
        train={"detector": {"width": 4}, "stage1": stage, "validation_share": share},
        cluster={"train": {"actors": 1}},
    )
    write_index(RunFolder(run.output), load_photos(run.data))
    return run


def test_a_resumed_training_chooses_what_an_undisturbed_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(tmp_path, 0.25)
    whole = Workers(run, tmp_path / "whole").learn(monkeypatch)
    card = read_progress(whole)
    assert [one["step"] for one in card["validation"]] == [EVERY, STEPS]
    assert len(card["losses"]) == STEPS
    assert 0 < card["threshold"] < 1
    first = tmp_path / "whole" / f"step-{EVERY:08d}"
    resumed = Workers(run, tmp_path / "resumed", EVERY, first).learn(monkeypatch)
    assert read_progress(resumed) == card
    for name in ("model.safetensors", BEST):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_without_a_share_nothing_is_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = Workers(make(tmp_path, 0.0), tmp_path / "whole").learn(monkeypatch)
    assert set(read_progress(last)) == {"step", "losses"}
    assert not (last / BEST).exists()
