"""``farm verify`` finds what is missing, doubled or damaged, and says where."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.images import decode_image, encode_png
from farm.parts import to_batch, to_table
from farm.prepare import prepare
from farm.rows import ENCODED, VERDICT
from farm.run_folder import RunFolder
from farm.source_index import read_index
from farm.stages.generate import Generate
from farm.stages.write import Write
from farm.verify import Found, verify
from tests.photos import make_run, make_tree


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A whole run of ten rule-made rows in three shards, judged: one refused, the others kept."""
    run = make_run(make_tree(tmp_path / "plates"), tmp_path / "run")
    folder, plan = prepare(run)
    generate = Generate(run, read_index(folder), plan, lambda arm, photo: None)
    write = Write(folder, plan)
    for shard in range(plan.shard_count):
        batch, _ = generate.shard(shard)
        write.commit(shard, batch | {"embedding": np.ones((len(batch["row"]), 2), np.float32)}, {})
    judge(folder, ["kept"] * 9 + ["refused"])
    return folder


def judge(folder: RunFolder, verdicts: list[str], reason: str = "unchanged") -> None:
    rows = [row for table in folder.candidates(["row", "sample_id"]) for row in table.to_pylist()][: len(verdicts)]
    text = {"sample_id": [row["sample_id"] for row in rows], "verdict": verdicts}
    text["reason"] = ["" if one == "kept" else reason for one in verdicts]
    text["nearest"] = [""] * len(rows)
    batch: dict[str, Any] = {name: np.array(values, dtype=object) for name, values in text.items()}
    batch["row"] = np.array([row["row"] for row in rows])
    batch["keep"] = np.array([one == "kept" for one in verdicts])
    batch["score"] = np.zeros(len(rows), np.float32)
    batch["neighbour"] = np.full(len(rows), -1)
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
    assert found.counts == {"planned": 10, "made": 10, "failed": 0, "missing": 0, "kept": 9, "refused": 1}
    assert found.summary().startswith("whole: 10 planned")


def test_a_flipped_byte_is_found(folder: RunFolder) -> None:
    path = folder.store.local("candidates/shard-000001/part.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any("shard 1: checksum differs from its marker" in problem for problem in verify(folder).problems)


def test_a_missing_shard_names_its_rows(folder: RunFolder) -> None:
    folder.store.local("candidates/shard-000002/done.json").unlink()
    found = verify(folder)
    assert "shard 2: no marker, rows 8 to 9 are missing; run the config again" in found.problems
    assert found.counts["missing"] == 2


def test_a_missing_part_is_found(folder: RunFolder) -> None:
    folder.store.local("candidates/shard-000000/part.parquet").unlink()
    assert any("shard 0" in problem and "is missing" in problem for problem in verify(folder).problems)


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
