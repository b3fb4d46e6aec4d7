"""What kills or stops a worker again and again: found, replaced, marked; all other rows keep their bytes."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.flow import Flow
from cluster.progress import Silent
from farm import attempts
from farm.config import Run
from farm.errors import RunError
from farm.lease import Lease, read_lease
from farm.parts import to_batch
from farm.repair import repair
from farm.reproduce import reproduce
from farm.run_folder import RunFolder
from farm.status import read_status
from farm.verify import verify
from tests.fragile import KILLER, EmbedDies, GenerateDies, GenerateHangs
from tests.photos import make_run, make_tree

pytestmark = pytest.mark.usefixtures("ray_local")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"))


def run_of(root: Path, output: Path, **cluster: Any) -> Run:
    small = {"embed": {"kind": "pixels"}, "filter": {"near_duplicate": 1.0}, "max_failed_fraction": 0.2}
    return make_run(root, output, **small, cluster={"shard_rows": 4, "num_cpus": 4, **cluster})


def generated(run: Run) -> dict[int, dict[str, Any]]:
    """Rows by number, of a run generated and judged; a NaN, which equals nothing, is told as None."""
    with Flow(run, Silent(), "farm generate") as flow:
        flow.generate()
        flow.judge()
    rows = [row for table in flow.folder.candidates() for row in table.to_pylist()]
    assert verify(flow.folder).problems == []
    assert read_lease(flow.folder.store) is None
    return {row["row"]: {name: None if value != value else value for name, value in row.items()} for row in rows}


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return generated(run_of(root, tmp_path_factory.mktemp("quiet") / "run"))


@pytest.mark.parametrize("stage", ["Generate", "Embed"])
def test_a_row_that_kills_its_worker_is_poisoned_and_costs_no_other_row(
    stage: str, root: Path, tmp_path: Path, undisturbed: dict[int, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"cluster.pipeline.workers.{stage}", {"Generate": GenerateDies, "Embed": EmbedDies}[stage])
    rows = generated(run_of(root, tmp_path / "run"))
    assert rows.keys() == undisturbed.keys()
    assert (rows[KILLER]["status"], rows[KILLER]["image_png"]) == ("poisoned", b"")
    assert "workers died while they had this row alone in hand" in rows[KILLER]["error"]
    assert {row: rows[row] for row in rows if row != KILLER} == {
        row: undisturbed[row] for row in undisturbed if row != KILLER
    }
    folder = RunFolder(str(tmp_path / "run"))
    deaths = 2 + attempts.MOST_DEATHS  # unaware, in its batch, then alone
    assert folder.done(1)["attempts"][stage.lower()] == deaths + 1
    assert attempts.counts(folder.store) == {}
    status = read_status(folder, time.time())
    assert (status.state, status.poisoned) == ("finished", 1)
    verdicts = to_batch(folder.verdicts())
    assert verdicts["verdict"][verdicts["row"] == KILLER].tolist() == ["poisoned"]


def test_a_worker_that_hangs_is_replaced_and_nothing_is_lost(
    root: Path, tmp_path: Path, undisturbed: dict[int, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.pipeline.workers.Generate", GenerateHangs)
    assert generated(run_of(root, tmp_path / "run", stall_timeout_s=3)) == undisturbed
    assert (tmp_path / "run" / "hung").exists()


def test_a_part_that_was_damaged_is_told_in_words_and_mended_by_repair(
    root: Path, tmp_path: Path, undisturbed: dict[int, dict[str, Any]]
) -> None:
    run = run_of(root, tmp_path / "run")
    flow = Flow(run, Silent())
    flow.generate()
    part = tmp_path / "run/candidates/shard-000001/part.parquet"
    part.write_bytes(part.read_bytes()[:-50] + b"x" * 50)
    with pytest.raises(RunError, match=r"^\S+shard-000001/part.parquet: its checksum is not .* command again$"):
        flow.judge()
    repair(flow.folder, verify(flow.folder))
    assert generated(run) == undisturbed


def test_an_elastic_pool_makes_the_same_bytes(root: Path, tmp_path: Path, undisturbed: dict[int, Any]) -> None:
    assert (
        generated(run_of(root, tmp_path / "run", generate={"actors": 1, "max_actors": 3, "cpus": 0.5})) == undisturbed
    )


def test_a_second_driver_is_refused_while_the_first_is_at_work(root: Path, tmp_path: Path) -> None:
    run = run_of(root, tmp_path / "run")
    flow = Flow(run, Silent(), "farm run")
    lease = Lease.take(flow.folder.store, "farm run")
    with pytest.raises(Exception, match=r"a driver \('farm run' process \d+ .*is at work on it"), flow:
        flow.generate()
    lease.release()
    with flow:
        flow.generate()
    assert flow.missing_shards() == []


def test_a_run_on_an_object_store_has_the_bytes_of_one_on_a_disk(
    root: Path, undisturbed: dict[int, dict[str, Any]], s3_bucket: str
) -> None:
    run = run_of(root, Path("unused")).model_copy(update={"output": f"{s3_bucket}/run"})
    assert generated(run) == undisturbed
    sample = reproduce(RunFolder(run.output), "3")
    assert sample.same
    assert np.array_equal(sample.stored["image_png"], undisturbed[3]["image_png"])
