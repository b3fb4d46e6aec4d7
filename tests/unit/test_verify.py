"""``farm verify`` finds what is missing, doubled or damaged, and says where."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.errors import RunError
from farm.images import decode_image, encode_png
from farm.lease import Lease
from farm.parts import to_batch, to_table
from farm.plan import Plan
from farm.prepare import prepare
from farm.repair import repair
from farm.rows import ENCODED, VERDICT
from farm.run_folder import RunFolder
from farm.source_index import read_index
from farm.stages.generate import Generate
from farm.stages.write import Write
from farm.verify import Found, verify
from tests.photos import make_run, make_tree
from tests.stages import embeddings


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A whole run of ten rule-made rows in three shards, judged: one refused, the others kept."""
    folder, plan = prepare(make_run(make_tree(tmp_path / "plates"), tmp_path / "run"))
    make(folder, set(range(plan.shard_count)))
    judge(folder, ["kept"] * 9 + ["refused"])
    return folder


def make(folder: RunFolder, shards: set[int]) -> None:
    """Make ``shards``, as a run would."""
    run = folder.run()
    plan = Plan(run, read_index(folder), folder.fingerprints()["model"])
    generate, write = Generate(run, plan.photos, plan, lambda arm, photo: None), Write(folder, plan)
    for shard in shards:
        batch, _ = generate.shard(shard)
        write.commit(shard, batch | embeddings(len(batch["row"])), {})


def judge(folder: RunFolder, verdicts: list[str], reason: str = "unchanged") -> None:
    rows = [row for table in folder.candidates(["row", "sample_id"]) for row in table.to_pylist()][: len(verdicts)]
    text = {"sample_id": [row["sample_id"] for row in rows], "verdict": verdicts}
    text["reason"] = ["" if one == "kept" else reason for one in verdicts]
    text["nearest"] = [""] * len(rows)
    batch: dict[str, Any] = {name: np.array(values, dtype=object) for name, values in text.items()}
    batch["row"] = np.array([row["row"] for row in rows])
    batch["keep"] = np.array([one == "kept" for one in verdicts])
    batch |= {name: np.zeros(len(rows), np.float32) for name in ("score", "crop_score", "grid_score")}
    batch["neighbour"] = np.full(len(rows), -1)
    batch["twin"] = np.array([""] * len(rows), object)
    folder.write_table(folder.verdict_name("verdicts.parquet"), to_table(batch, VERDICT))


def rewrite(folder: RunFolder, shard: int, change: Any) -> None:
    """Change a shard's rows and commit it again, so that its checksum fits."""
    batch = {name: values.copy() for name, values in to_batch(folder.read_shard(shard)).items()}
    change(batch)
    marker = {key: value for key, value in folder.done(shard).items() if key not in ("shard", "bytes", "sha256")}
    folder.write_shard(shard, to_table(batch, ENCODED), marker)


def one(found: Found) -> str:
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


def test_a_whole_run_adds_up(folder: RunFolder) -> None:
    found = verify(folder)
    assert found.problems == []
    assert found.counts == {
        "planned": 10,
        "made": 10,
        "failed": 0,
        "poisoned": 0,
        "missing": 0,
        "kept": 9,
        "refused": 1,
    }
    assert found.summary().startswith("whole: 10 planned")


def test_a_flipped_byte_is_found(folder: RunFolder) -> None:
    path = folder.store.local("candidates/shard-000001/part.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any("its checksum is not its marker" in problem for problem in verify(folder).problems)


def test_a_missing_shard_names_its_rows(folder: RunFolder) -> None:
    folder.store.local("candidates/shard-000002/done.json").unlink()
    found = verify(folder)
    assert "shard 2: rows 8 to 9 are not committed; run the config again" in found.problems
    assert found.counts["missing"] == 2


def test_a_missing_part_makes_its_shard_missing(folder: RunFolder) -> None:
    folder.store.local("candidates/shard-000000/part.parquet").unlink()
    assert one(verify(folder)) == "shard 0: rows 0 to 3 are not committed; run the config again"
    assert folder.done_shards() == {1, 2}  # so the next run makes it


def test_a_changed_background_is_counted_in_pixels(folder: RunFolder) -> None:
    def touch(batch: Any) -> None:
        image = decode_image(batch["image_png"][0], "image").copy()
        outside = np.argwhere(decode_image(batch["mask_png"][0], "mask")[..., 0] == 0)[:3]
        image[outside[:, 0], outside[:, 1]] ^= 255
        batch["image_png"][0] = encode_png(image)

    rewrite(folder, 0, touch)
    assert one(verify(folder)).endswith(": 3 background pixels differ from the source")


def test_a_picture_that_does_not_decode_is_found(folder: RunFolder) -> None:
    rewrite(folder, 0, lambda batch: batch["image_png"].__setitem__(1, b"\x89PNG half"))
    assert one(verify(folder)).startswith("shard 0, ")


def test_a_picture_of_another_size_is_found(folder: RunFolder) -> None:
    small = encode_png(np.zeros((32, 32, 3), np.uint8))
    rewrite(folder, 0, lambda batch: batch["label_png"].__setitem__(1, small))
    assert "not all (64, 64)" in one(verify(folder))


def test_a_row_that_is_not_the_planned_one_is_found(folder: RunFolder) -> None:
    rewrite(folder, 0, lambda batch: batch["seed"].__setitem__(1, 5))
    assert one(verify(folder)) == "shard 0: column 'seed' differs from the plan"


def test_a_doubled_row_is_found(folder: RunFolder) -> None:
    rewrite(folder, 0, lambda batch: batch["row"].__setitem__(1, 0))
    assert any("holds other rows than the plan's 0 to 3" in problem for problem in verify(folder).problems)


def test_an_orphan_is_found(folder: RunFolder) -> None:
    folder.store.write("candidates/shard-000009/part.parquet", b"x")
    assert one(verify(folder)) == "candidates/shard-000009/part.parquet: belongs to no shard of the plan"


def test_verdicts_that_do_not_pair_up_are_found(folder: RunFolder) -> None:
    judge(folder, ["kept"] * 8)
    assert one(verify(folder)).startswith("verdicts: 8 for 10 rows")


def test_a_refusal_without_reason_is_found(folder: RunFolder) -> None:
    judge(folder, ["kept"] * 9 + ["refused"], reason="")
    assert one(verify(folder)) == "verdicts: a row that is not kept has no reason"


def test_a_failed_row_without_reason_is_found(folder: RunFolder) -> None:
    def fail(batch: Any) -> None:
        batch["status"][2], batch["error"][2] = "failed", ""

    rewrite(folder, 0, fail)
    assert any(problem.endswith("failed without a reason") for problem in verify(folder).problems)


def parts(folder: RunFolder) -> dict[str, bytes]:
    return {name: folder.store.read(name) for name in folder.store.names("candidates") if name.endswith(".parquet")}


def damage(folder: RunFolder, how: str) -> None:
    path = folder.store.local("candidates/shard-000001/part.parquet")
    if how == "flipped":
        path.write_bytes(path.read_bytes()[:-100] + b"x" * 100)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:50])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "marker":
        path.with_name("done.json").write_bytes(b"{half")
    else:
        rewrite(folder, 1, lambda batch: batch["seed"].__setitem__(1, 5))


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty", "marker", "rewritten"])
def test_what_is_damaged_is_made_anew_after_repair_with_the_same_bytes(folder: RunFolder, how: str) -> None:
    before = parts(folder)
    damage(folder, how)
    found = verify(folder)
    assert found.damaged == {1}
    assert repair(folder, found) == ["shard 1: forgotten; the next run makes it anew, with the same bytes"]
    assert folder.done_shards() == {0, 2}
    make(folder, {1})
    assert verify(folder).problems == []
    assert parts(folder) == before


def test_repair_takes_away_what_belongs_to_nothing_and_touches_nothing_else(folder: RunFolder) -> None:
    before = {name: folder.store.read(name) for name in folder.store.names(".")}
    for orphan in (
        "candidates/shard-000009/part.parquet",
        "candidates/notes.txt",
        "attempts/shard-000001/embed-0001.json",
    ):
        folder.store.write(orphan, b"x")
    half = folder.store.local("candidates/shard-000001/.part.parquet.1234.tmp")
    half.write_bytes(b"half")
    assert len(repair(folder, verify(folder))) == 4
    assert {name: folder.store.read(name) for name in folder.store.names(".")} == before
    assert not half.exists()
    assert verify(folder).problems == []


def test_repair_waits_for_no_driver_but_refuses_to_work_beside_one(folder: RunFolder) -> None:
    found = verify(folder)
    with closing(Held(folder)), pytest.raises(RunError, match=r"'farm run' process .* is at work on it"):
        repair(folder, found)


class Held:
    """The run's lease, as a driver of this machine that lives holds it."""

    def __init__(self, folder: RunFolder) -> None:
        self.lease = Lease.take(folder.store, "farm run")

    def close(self) -> None:
        self.lease.release()


def test_verdicts_that_do_not_fit_go_with_what_is_derived_from_them(folder: RunFolder) -> None:
    judge(folder, ["kept"] * 8)
    folder.store.write("ledger.parquet", b"x")
    assert "judges again" in repair(folder, verify(folder))[0]
    assert not folder.store.exists("ledger.parquet")
    assert verify(folder).problems == []


def test_failed_rows_are_tried_again_only_when_asked_for(folder: RunFolder) -> None:
    def fail(batch: Any) -> None:
        batch["status"][2], batch["error"][2] = "failed", "source: OSError: gone"

    rewrite(folder, 0, fail)
    judge(folder, ["kept"] * 2 + ["failed"] + ["kept"] * 7)
    found = verify(folder)
    assert found.problems == []
    assert repair(folder, found) == []
    assert repair(folder, found, failed=True)[0].startswith("shard 0: forgotten")
    assert folder.done_shards() == {1, 2}


def test_a_poisoned_row_is_a_row_of_its_own_in_the_accounts(folder: RunFolder) -> None:
    def poison(batch: Any) -> None:
        batch["status"][2], batch["error"][2] = "poisoned", "poisoned: 3 workers died"
        batch["image_png"][2] = b""

    rewrite(folder, 0, poison)
    judge(folder, ["kept"] * 2 + ["poisoned"] + ["kept"] * 7)
    found = verify(folder)
    assert found.problems == []
    assert (found.counts["made"], found.counts["poisoned"], found.counts["failed"]) == (9, 1, 0)
    judge(folder, ["kept"] * 2 + ["failed"] + ["kept"] * 7)
    assert "verdicts: 1 failed, but the parts hold 0" in verify(folder).problems
