import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from farm.errors import RunError, StoreError
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
    with pytest.raises(StoreError, match=r"a.bin: cannot be written \(No space left on device\).*Free some space"):
        store.write("a.bin", b"new")
    assert store.read("a.bin") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_of_two_creations_the_first_stands_and_a_repeat_of_its_own_bytes_is_no_second(store: Store) -> None:
    assert store.create("a/lock", b"first")
    assert not store.create("a/lock", b"second")
    assert store.read("a/lock") == b"first"
    assert store.create("a/lock", b"first")  # the answer to the first call got lost, and it was asked again


def test_of_many_threads_that_create_one_file_exactly_one_wins(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda who: store.create("lock", str(who).encode()), range(64)))
    assert sum(won) == 1
    assert store.read("lock") == str(won.index(True)).encode()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_removing_is_for_files_that_are_there_or_not(store: Store) -> None:
    store.write("a/b", b"x")
    store.remove("a/b")
    store.remove("a/b")
    assert not store.exists("a/b")


class Stumbling:
    """A file system that raises ``errors`` before it answers."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors, self.asked = errors, 0

    def cat_file(self, _url: str) -> bytes:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return b"found"


def stumbling(errors: list[Exception], monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Stumbling, list[float]]:
    store, remote, pauses = Store("memory://x"), Stumbling(errors), []
    monkeypatch.setattr(store, "_remote", lambda: remote)
    monkeypatch.setattr("farm.store.time.sleep", pauses.append)
    return store, remote, pauses


def test_a_store_that_stumbles_is_asked_again_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    store, remote, pauses = stumbling([OSError("reset"), TimeoutError("slow"), OSError("500")], monkeypatch)
    assert store.read("a") == b"found"
    assert remote.asked == 4
    assert 0.1 <= pauses[0] <= 0.2
    assert all(0.5 * 0.2 * 2**turn <= pause <= 0.2 * 2**turn for turn, pause in enumerate(pauses))


def test_a_store_that_is_gone_ends_in_words_and_a_file_that_is_missing_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, remote, _ = stumbling([OSError("reset by peer")] * 99, monkeypatch)
    with pytest.raises(StoreError, match=r"memory://x/a: .*after 9 tries; last: OSError: reset by peer.*run the same"):
        store.read("a")
    assert remote.asked == 9
    store, remote, _ = stumbling([FileNotFoundError("a")], monkeypatch)
    with pytest.raises(RunError, match="is missing"):
        store.read("a")
    assert remote.asked == 1


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
