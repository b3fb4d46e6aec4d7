"""Where a run cannot be written: a full disk, a read-only folder, a file in its place. What was there stays whole."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farm.errors import StoreError
from farm.prepare import prepare
from farm.run_folder import RunFolder
from farm.store import Store
from tests.photos import make_run, make_tree


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 256 KB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk can be made here: {error}")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_an_error_in_words_and_leaves_the_old_file_whole(small_disk: Path) -> None:
    store = Store(str(small_disk / "run"))
    store.write("a/part", b"old" * 1000)
    before = files(small_disk)
    with pytest.raises(StoreError) as caught:
        store.write("a/part", bytes(300_000))
    text = str(caught.value)
    assert text.startswith(
        f"{small_disk}/run/a/part: cannot be written (No space left on device); what was there before"
    )
    assert "Free some space or mend the rights, then run the same command again" in text
    assert files(small_disk) == before
    store.write("b", b"x")  # and the disk is as free as it was


def refusing(number: int) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("place", ["fsync", "replace", "open", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_whatever_the_disk_says_and_wherever_nothing_half_is_left(
    place: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    store.write("a/part", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os if place == "fsync" else Path, place, refusing(number))
        with pytest.raises(StoreError) as caught:
            store.write("a/part", b"new")
    assert f"a/part: cannot be written ({os.strerror(number)})" in str(caught.value)
    assert files(tmp_path) == {"a/part": b"old"}


def test_a_shard_on_a_full_disk_has_no_marker(small_disk: Path, tmp_path: Path) -> None:
    """The marker is written last, so a shard without room is a shard that was never made."""
    import pyarrow as pa

    folder = RunFolder(str(small_disk / "run"))
    with pytest.raises(StoreError, match=r"part\.parquet: cannot be written \(No space left on device\)"):
        folder.write_shard(0, pa.table({"image_png": [os.urandom(300_000)]}), {})
    assert not folder.is_done(0)
    assert files(small_disk) == {}
    folder.write_shard(0, pa.table({"image_png": [os.urandom(1000)]}), {})
    assert folder.is_done(0)


def test_a_read_only_output_stops_the_run_before_it_begins(tmp_path: Path, small_disk: Path) -> None:
    root = make_tree(tmp_path / "plates", train=4, test=1, shots=1)
    done = subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be made read-only here: {done.stderr.strip()}")
    with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\).*mend the rights"):
        prepare(make_run(root, small_disk / "run"))
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("file", "Not a directory"),
        ("file/run", "Not a directory"),
        ("link", "File exists"),
        ("ring", "Too many levels"),
    ],
)
def test_an_output_that_can_be_no_folder_is_an_error_in_words(output: str, reason: str, tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates", train=4, test=1, shots=1)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    with pytest.raises(StoreError, match=rf"{output}/sources/index\.parquet: cannot be written \({reason}"):
        prepare(make_run(root, tmp_path / output))
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
