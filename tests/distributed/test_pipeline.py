"""The wiring on a real local Ray: same bytes as a plain loop, nothing done twice, nothing lost."""

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.flow import Flow
from cluster.progress import Silent
from farm.config import Run
from farm.errors import ResourceError, RunError
from farm.run_folder import RunFolder
from farm.verify import verify
from tests.loop import run_in_a_loop
from tests.photos import make_run, make_tree
from tests.tiny import tiny_backbone_folder

pytestmark = pytest.mark.usefixtures("ray_local")


def hashes(folder: Path, *below: str) -> dict[str, str]:
    """Path → checksum of the files under ``below``; markers are left out, since they hold seconds."""
    paths = [path for name in below for path in (folder / name).rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
        if path.suffix != ".json"
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"))


@pytest.fixture(scope="module")
def settings(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Rules and background_aware on a tiny random model: both kinds of arm, with inversion."""
    model = tiny_backbone_folder(tmp_path_factory.mktemp("model"))
    arm = {"kind": "background_aware", "steps": 3, "fixed_point": 1, "sources": 5, "min_visible": 0}
    return {"model": {"path": str(model)}, "methods": [{"kind": "rules"}, arm]}


@pytest.fixture(scope="module")
def made(root: Path, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run generated and judged through Ray, with two generating actors."""
    run = make_run(root, tmp_path_factory.mktemp("ray") / "run", **settings)
    pools = run.cluster.model_copy(update={"generate": run.cluster.generate.model_copy(update={"actors": 2})})
    run = run.model_copy(update={"cluster": pools})
    generate(run)
    return run


def generate(run: Run) -> Flow:
    flow = Flow(run, Silent())
    flow.invert()
    flow.generate()
    flow.judge()
    return flow


def test_a_plain_loop_and_ray_give_the_same_bytes(
    made: Run, root: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    loop = make_run(root, tmp_path / "loop", **settings)
    run_in_a_loop(loop)
    through_ray = hashes(Path(made.output), "candidates", "inversions", "verdicts", "sources")
    assert len(through_ray) > 6
    assert hashes(Path(loop.output), "candidates", "inversions", "verdicts", "sources") == through_ray


def test_every_planned_row_is_there_once(made: Run) -> None:
    found = verify(RunFolder(made.output))
    assert found.problems == []
    assert found.counts["planned"] == found.counts["kept"] + found.counts["refused"] + found.counts["failed"] == 10


def test_a_second_run_redoes_nothing(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(made.output, "candidates").rglob("*")}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished phase was executed again")

    for phase in ("invert", "generate", "embed_photos", "judge"):
        monkeypatch.setattr(f"cluster.pipeline.{phase}", refuse)
    generate(made)
    assert {path: path.stat().st_mtime_ns for path in Path(made.output, "candidates").rglob("*")} == before


def test_a_missing_shard_comes_back_with_the_same_bytes(made: Run) -> None:
    folder = Path(made.output)
    before = hashes(folder, "candidates")
    (folder / "candidates/shard-000001/done.json").unlink()
    (folder / "candidates/shard-000001/part.parquet").write_bytes(b"half a file")
    assert any("rows 4 to 7 are not committed" in problem for problem in verify(RunFolder(made.output)).problems)
    generate(made)
    assert hashes(folder, "candidates") == before


def test_a_worker_killed_in_the_middle_costs_nothing(root: Path, made: Run, settings: Any, tmp_path: Path) -> None:
    killed: list[int] = []

    class Killer(Silent):
        def advance(self, finished: int, counts: dict[str, int]) -> None:
            workers = [p for p in psutil.process_iter(["cmdline"]) if "MapWorker(MapBatches(Generate))" in str(p.info)]
            if workers and not killed:
                killed.append(workers[0].pid)
                os.kill(workers[0].pid, signal.SIGKILL)

    run = make_run(root, tmp_path / "run", **settings)
    flow = Flow(run, Killer())
    flow.invert()
    flow.generate()
    flow.judge()
    assert killed
    assert hashes(tmp_path / "run", "candidates", "verdicts") == hashes(Path(made.output), "candidates", "verdicts")


def test_an_output_folder_of_another_config_is_refused_with_what_differs(made: Run) -> None:
    free = made.cluster.model_copy(update={"stall_timeout_s": 7})
    other = made.model_copy(update={"seed": 9, "rows": 12, "name": "other", "cluster": free})
    with pytest.raises(RunError) as caught:
        Flow(other, Silent())
    text = str(caught.value)
    assert f"{Path(made.output).absolute()}: was made by another config" in text
    assert "  seed: now 9, the folder was made with 0" in text
    assert "  rows: now 12, the folder was made with 10" in text
    assert "--set output=" in text
    assert "  name:" not in text
    assert "stall_timeout_s" not in text  # what may change is not blamed


def test_a_run_that_asks_for_too_much_is_refused_before_anything_is_written(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path / "run", cluster={"num_cpus": 2, "generate": {"actors": 4}})
    with pytest.raises(ResourceError, match=r"phase generate asks for 4\.75 CPUs"):
        Flow(run, Silent())
    assert not (tmp_path / "run").exists()


def test_an_unreadable_source_is_a_failed_row_with_its_reason(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates", train=12)
    run = make_run(root, tmp_path / "run", rows=40, max_failed_fraction=0.5)
    flow = Flow(run, Silent())
    broken = root / "train/good/003.png"
    broken.write_bytes(broken.read_bytes()[:200])
    flow.generate()
    tables = list(flow.folder.candidates(["status", "error", "source_id"]))
    rows = [row for table in tables for row in table.to_pylist()]
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(rows) == 40
    assert failed
    assert len({row["source_id"] for row in failed}) == 1
    assert all("003.png" in row["error"] for row in failed)


def test_a_hopeless_run_ends_with_its_reasons(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates", train=12)
    flow = Flow(make_run(root, tmp_path / "run"), Silent())
    for path in (root / "train/good").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=r"of 10 rows failed, above max_failed_fraction=0\.1\n  \d+ x source"):
        flow.generate()
