"""Derived files of a run folder, and the index that workers read."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from farm.errors import RunError
from farm.parts import from_parquet, to_parquet
from farm.prepare import prepare
from farm.run_ledger import spent, write_ledger
from farm.source_index import NAME, read_index
from tests.factories import make_run_folder
from tests.photos import make_run, make_tree


def test_the_ledger_adds_up_to_the_plan_and_to_the_markers(tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path, rows=24)
    counts = write_ledger(folder)
    assert counts["planned"] == counts["kept"] + counts["refused"] + counts["failed"] == 24
    lines = folder.read_table("ledger.parquet").to_pylist()
    assert sum(line["attempts"] for line in lines) == 24
    assert all(sum(json.loads(line["reasons"]).values()) == line["refused"] for line in lines)
    assert sum(line["device_s"] for line in lines) == pytest.approx(sum(spent(folder).device_s.values()))
    stored = folder.read_shard(0, ["image_png"])["image_png"].to_pylist()
    assert sum(line["bytes"] for line in lines) > sum(map(len, stored))


def test_the_index_gives_back_the_photographs_with_their_types(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates")
    (root / "train/good/bad.png").write_bytes(b"not a picture")
    data = {"kind": "mvtec", "root": str(root), "category": "plate", "max_bad_fraction": 0.2}
    folder, plan = prepare(make_run(root, tmp_path / "run", data=data))
    photos = read_index(folder)
    assert photos.train == plan.sources["rules"]
    assert (len(photos.shots), len(photos.test)) == (2, 8)
    assert len(photos.refused) == 1
    assert "bad.png" in photos.refused[0].reason


def test_an_index_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    folder, _ = prepare(make_run(make_tree(tmp_path / "plates"), tmp_path / "run"))
    table = from_parquet(folder.store.read(NAME))
    changed = ["0" * 64, *table["sha256"].to_pylist()[1:]]
    table = table.set_column(table.column_names.index("sha256"), "sha256", pa.array(changed))
    folder.store.write(NAME, to_parquet(table))
    with pytest.raises(RunError, match="its photographs do not give its fingerprint; delete it and run again"):
        read_index(folder)
