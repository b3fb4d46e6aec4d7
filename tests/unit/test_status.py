"""What ``farm status`` reads from the folder alone, in each state of a run."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from farm import attempts
from farm.errors import RunError
from farm.lease import NAME, TERM_S, Lease
from farm.prepare import prepare
from farm.run_folder import RunFolder
from farm.stages.generate import Generate
from farm.stages.write import Write
from farm.status import read_status
from tests.photos import make_run, make_tree
from tests.stages import embeddings


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Ten planned rows in three shards, of which the first is committed."""
    folder, plan = prepare(make_run(make_tree(tmp_path / "plates"), tmp_path / "run"))
    batch, _ = Generate(plan.run, plan.photos, plan, lambda arm, photo: None).shard(0)
    batch["status"][1], batch["error"][1] = "failed", "why"
    batch["status"][2], batch["error"][2] = "poisoned", "why"
    Write(folder, plan).commit(0, batch | embeddings(4), {})
    return folder


def test_a_run_that_nobody_works_on_says_how_to_go_on(folder: RunFolder) -> None:
    status = read_status(folder, time.time())
    assert (status.state, status.made, status.failed, status.poisoned, status.missing) == ("stopped", 2, 1, 1, 6)
    assert status.lines() == [
        "plates: stopped",
        "planned 10 = made 2 + failed 1 + poisoned 1 + missing 6; 1 of 3 shards, 40 %",
        "nobody is at work on it; the command that began it goes on from here",
    ]


def test_a_run_at_work_says_who_where_and_how_long_still(folder: RunFolder) -> None:
    lease = Lease.take(folder.store, "farm run")
    folder.write_json(
        "progress.json",
        {"phase": "generate", "finished": 30, "work": 120, "unit": "shards", "counts": {}, "seconds": 60.0},
    )
    status = read_status(folder, lease.holder.taken_at + 3)
    assert (status.state, status.rate, status.eta_s) == ("running", 0.5, 180.0)
    text = "\n".join(status.lines())
    assert "plates: running, a driver ('farm run' process" in text
    assert "last heard of 3 s ago" in text
    assert "phase generate: 30 of 120 shards, 0.50 shards/s, about 3 min 0 s left" in text
    lease.release()


def test_a_driver_of_another_machine_is_gone_when_its_lease_is(folder: RunFolder) -> None:
    lease = Lease.take(folder.store, "farm run")
    folder.store.write(NAME, json.dumps(asdict(replace(lease.holder, place="elsewhere"))).encode())
    assert read_status(folder, lease.holder.taken_at + TERM_S - 1).state == "running"
    status = read_status(folder, lease.holder.taken_at + TERM_S + 1)
    assert status.state == "stopped"
    assert status.driver.endswith("gone")


def test_a_shard_that_keeps_dying_is_named(folder: RunFolder) -> None:
    for _ in range(4):
        attempts.begin(folder.store, 2, "generate", "w", "d")
    attempts.begin(folder.store, 1, "generate", "w", "d")
    status = read_status(folder, time.time())
    assert status.troubled == {2: 4}
    assert "shard 2: 4 attempts, not committed yet" in status.lines()


def test_what_is_no_run_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no run\.yaml, so it is not a run folder"):
        read_status(RunFolder(str(tmp_path)), 0.0)
