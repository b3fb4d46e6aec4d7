"""The synthetic validation set: its own seeds, held out of training, and the checkpoint and threshold it chooses."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from farm.config import DetectorConfig, Run, TrainConfig
from farm.datasets import load_photos
from farm.detector.checkpoint import to_bytes
from farm.detector.materials import held_out, stage_materials
from farm.detector.model import build_detector
from farm.detector.outputs import Outputs
from farm.detector.two_stage import stage_batch
from farm.detector.validation import (
    BEST,
    IMAGES,
    Measured,
    Selection,
    Validation,
    best_seen,
    best_threshold,
    validation_draws,
)
from farm.errors import DataError
from farm.run_folder import RunFolder
from farm.source_index import read_index, write_index
from tests.photos import make_run, make_tree
from tests.unit.detector.test_feed import rows


def make(tmp_path: Path, share: float) -> tuple[Run, RunFolder]:
    """A run of 12 plates with three kept defects and a kept normal, of which the first is of the first plate."""
    run = make_run(make_tree(tmp_path / "plates"), tmp_path / "run", train={"validation_share": share})
    folder = RunFolder(run.output)
    write_index(folder, load_photos(run.data))
    return run, folder


class Judged(RunFolder):
    """A run folder whose kept rows are given."""

    def __init__(self, url: str, table: pa.Table) -> None:
        super().__init__(url)
        self.table = table

    def kept(self, columns: object) -> list[pa.Table]:
        return [self.table.select([*dict.fromkeys(columns)])]


def judged(run: Run, folder: RunFolder, count: int = 20) -> Judged:
    table = rows(["defect"] * (count - 4) + ["normal"] * 4)
    names = [f"sample{place}" for place in range(count)]
    photos = read_index(folder).train
    sources = [photos[place % len(photos)].photo_id for place in range(count)]
    table = table.append_column("sample_id", pa.array(names)).append_column("source_id", pa.array(sources))
    return Judged(run.output, table)


def images(materials: object) -> set[bytes]:
    return {image.tobytes() for image in materials.normals}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_is_held_out_by_name_alone(share: float) -> None:
    names = [f"name{place}" for place in range(1000)]
    held = held_out(names, share)
    assert len(held) / 1000 == pytest.approx(share, abs=0.05)
    assert held == held_out(names[::-1], share)
    assert held & set(names[:500]) == held_out(names[:500], share)


def test_a_small_set_is_never_all_or_nothing() -> None:
    assert [len(held_out([f"n{place}" for place in range(count)], 0.001)) for count in (0, 1, 2, 9)] == [0, 0, 1, 1]
    assert [len(held_out([f"n{place}" for place in range(count)], 0.999)) for count in (1, 2, 9)] == [0, 1, 8]
    assert held_out(["a", "b", "c"], 0.0) == frozenset()


def test_the_two_parts_share_no_photograph_and_no_row(tmp_path: Path) -> None:
    run, folder = make(tmp_path, 0.3)
    whole = judged(run, folder)
    parts = [stage_materials(run, whole, "stage2", part) for part in ("train", "validation")]
    assert sum(len(part.kept) for part in parts) == 16
    assert min(len(part.kept) for part in parts) > 0
    assert sum(len(part.normals) for part in parts) == 12 + 4
    assert not images(parts[0]) & images(parts[1])
    pngs = [set(part.kept.image_png.to_pylist()) for part in parts]
    assert not pngs[0] & pngs[1]
    held = held_out([photo.photo_id for photo in read_index(folder).train], 0.3)
    of_held = {row["image_png"] for row in whole.table.to_pylist() if row["source_id"] in held}
    assert not pngs[0] & of_held


def test_without_a_share_training_sees_everything(tmp_path: Path) -> None:
    run, folder = make(tmp_path, 0.0)
    materials = stage_materials(run, judged(run, folder), "stage2")
    assert (len(materials.normals), len(materials.kept)) == (16, 16)


def test_one_photograph_cannot_be_shared(tmp_path: Path) -> None:
    run = make_run(make_tree(tmp_path / "plates", train=1), tmp_path / "run", train={"validation_share": 0.5})
    folder = RunFolder(run.output)
    write_index(folder, load_photos(run.data))
    with pytest.raises(DataError, match=r"plate: nothing can be held out of 1 normal photo.*; give two or more"):
        stage_materials(run, folder, "stage1", "validation")


def test_no_seed_is_one_of_training() -> None:
    train = TrainConfig()
    for stage, kinds in (("stage1", {"normal", "rules"}), ("stage2", {"normal", "rules", "generated"})):
        draws = validation_draws(train, stage)
        assert len(set(draws.seed.tolist())) == IMAGES
        assert set(draws.kind) == kinds
        assert draws.kind.count("normal") == IMAGES // 2
        learned = {int(seed) for step in range(100) for seed in stage_batch(train, stage, step, range(16)).seed}
        assert not learned & set(draws.seed.tolist())
        assert validation_draws(train, stage).digest() == draws.digest()
    assert not set(validation_draws(train, "stage1").seed) & set(validation_draws(train, "stage2").seed)


def test_the_threshold_has_the_largest_f1_and_lies_between_two_scores() -> None:
    scores, labels = np.array([0.9, 0.8, 0.6, 0.2, 0.1]), np.array([1, 1, 0, 1, 0])
    assert best_threshold(scores, labels) == pytest.approx(0.15)  # F1 6/7; 4/5 at 0.8
    assert best_threshold(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0])) == pytest.approx(0.5)
    assert best_threshold(np.array([0.5, 0.4]), np.array([0, 0])) is None


class Level(torch.nn.Module):
    """A network that finds dark pixels; with ``sign`` -1, bright ones."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = torch.nn.Parameter(torch.tensor(sign))

    def forward(self, pixels: torch.Tensor) -> Outputs:
        odds = self.sign * (60 - pixels.mean(dim=1)) / 10
        return Outputs(torch.stack([torch.zeros_like(odds), odds], dim=1))


def test_a_better_network_measures_better(tmp_path: Path) -> None:
    run, _ = make(tmp_path, 0.3)
    table = rows(["defect"] * 8).set_column(0, "kind", pa.array(["defect"] * 8))
    names = {name: pa.array([f"{name}{place}" for place in range(8)]) for name in ("sample_id", "source_id")}
    for name, values in names.items():
        table = table.append_column(name, values)
    materials = stage_materials(run, Judged(run.output, table), "stage2", "validation")
    validation = Validation(run, "stage2", materials)
    dark, bright = validation(Level(1.0)), validation(Level(-1.0))
    assert dark.pixel_ap > bright.pixel_ap
    assert dark.threshold is not None
    assert validation(Level(1.0)) == dark


class Given:
    """A validation that measures what it is told to."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, model: torch.nn.Module) -> Measured:
        model.eval()
        return Measured(self.values.pop(0), 0.5)


def test_the_first_of_the_best_is_kept_over_a_resume(tmp_path: Path) -> None:
    models = [build_detector(DetectorConfig(kind="unet", width=2), seed) for seed in range(5)]
    values = (float("nan"), 0.5, 0.7, 0.7, 0.6)
    whole = Selection(Given(*values))
    for step, model in enumerate(models):
        whole.look(step, model)
        assert model.training
    first, second = Selection(Given(*values[:3])), Selection(Given(*values[3:]))
    for step in range(3):
        first.look(step, models[step])
    second.resume(tmp_path, first.write(tmp_path))
    for step in (3, 4):
        second.look(step, models[step])
    assert second.seen == whole.seen
    assert best_seen(whole.seen)["step"] == 2
    card = second.write(tmp_path)
    assert (tmp_path / BEST).read_bytes() == to_bytes(models[2])
    assert card == {"weights": BEST, "threshold": 0.5, "validation": whole.seen}


def test_without_any_measure_the_last_weights_stay(tmp_path: Path) -> None:
    models = [build_detector(DetectorConfig(kind="unet", width=2), seed) for seed in range(2)]
    selection = Selection(Given(float("nan"), float("nan")))
    for step, model in enumerate(models):
        selection.look(step, model)
    selection.write(tmp_path)
    assert (tmp_path / BEST).read_bytes() == to_bytes(models[1])
