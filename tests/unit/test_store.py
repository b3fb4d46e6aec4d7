import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from farm.errors import RunError
from farm.parts import from_parquet, to_batch, to_parquet, to_table
from farm.rows import Column
from farm.store import Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def test_what_is_written_is_read_and_replaced(store: Store) -> None:
    store.write("a/b.txt", b"one")
    store.write("a/b.txt", b"two")
    assert store.read("a/b.txt") == b"two"
    assert store.exists("a/b.txt")
    assert not store.exists("a/c.txt")


def test_names_lists_what_is_below_a_folder_in_order(store: Store) -> None:
    for name in ("x/2.txt", "x/1.txt", "y/3.txt", "x/z/0.txt"):
        store.write(name, b"")
    assert list(store.names("x")) == ["x/1.txt", "x/2.txt", "x/z/0.txt"]
    assert list(store.names("none")) == []


def test_a_missing_file_says_where_and_what_to_do(store: Store) -> None:
    with pytest.raises(RunError, match=r"none.txt: is missing; run 'farm verify"):
        store.read("none.txt")


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", ""])
def test_a_name_cannot_leave_the_root(store: Store, name: str) -> None:
    with pytest.raises(RunError, match="is not a name inside"):
        store.write(name, b"x")


def test_a_write_that_dies_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    store.write("a.bin", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write("a.bin", b"new")
    assert store.read("a.bin") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


COLUMNS = (
    Column("row", "int64", (), ""),
    Column("name", "str", (), ""),
    Column("png", "bytes", (), ""),
    Column("embedding", "float32", ("D",), ""),
    Column("keep", "bool", (), ""),
)


def test_parts_keep_every_value_and_equal_rows_give_equal_bytes() -> None:
    rng = np.random.default_rng(0)
    strings = np.array(["ä", "", "c"], dtype=object)
    batch = {
        "row": np.arange(3),
        "name": strings,
        "png": np.array([b"\x00", b"", b"abc"], dtype=object),
        "embedding": rng.standard_normal((3, 5)).astype(np.float32),
        "keep": np.array([True, False, True]),
    }
    data = to_parquet(to_table(batch, COLUMNS))
    assert data == to_parquet(to_table({name: values.copy() for name, values in batch.items()}, COLUMNS))
    back = to_batch(from_parquet(data))
    assert all(np.array_equal(back[name], batch[name]) for name in batch)
    assert back["embedding"].dtype == np.float32
    assert from_parquet(data, ["row"]).column_names == ["row"]
