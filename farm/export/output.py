"""Writing an export: every file once, under a deterministic name, with a list of checksums written in parts.

A list is a file that ``sha256sum --check`` reads. Large files are made on a disk of this machine and copied, so memory
holds a picture or a row group at a time, and what is on its way to an object store.
"""

import hashlib
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO

from farm.errors import RunError
from farm.store import Store

LISTS = "checksums"
MARKER, BEGUN = "export.json", "exporting.json"
LIST_LINES = 10_000
WRITERS = 16  # threads: an object store takes tens of milliseconds for each file
WAITING = 64  # files on their way at most


class Output:
    """The files of one export below ``store``. Use it in a ``with``; the list is whole when that ends."""

    def __init__(self, store: Store, shard_bytes: int) -> None:
        self.store = store
        self.shard_bytes = shard_bytes  # what a format that packs pictures may put into one file
        self.files = self.bytes = 0
        self._lines: list[str] = []
        self._lists = hashlib.sha256()
        self._waiting: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(WRITERS)

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._settle(0)
                self._write_list()
        finally:
            self._pool.shutdown(cancel_futures=True)

    @property
    def checksum(self) -> str:
        """The SHA-256 of all lists, one behind the other."""
        return self._lists.hexdigest()

    def write(self, name: str, data: bytes) -> None:
        """Write a small file; it is there when the ``with`` ends."""
        self._waiting.append(self._pool.submit(self.store.write, name, data))
        self._settle(WAITING)
        self._list(name, hashlib.sha256(data).hexdigest(), len(data))

    @contextmanager
    def file(self, name: str) -> Iterator[IO[bytes]]:
        """A file of any size to write into; it is stored as ``name`` when this ends well."""
        with tempfile.TemporaryDirectory(prefix="farm-export-") as scratch:
            path = Path(scratch) / "file"
            with path.open("wb") as file:
                yield file
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.store.upload(name, path)
            self._list(name, sha256, path.stat().st_size)

    def _settle(self, most: int) -> None:
        """Wait until at most ``most`` files are on their way; what went wrong with one is raised here."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def _list(self, name: str, sha256: str, size: int) -> None:
        self.files += 1
        self.bytes += size
        self._lines.append(f"{sha256}  {name}\n")
        if len(self._lines) == LIST_LINES:
            self._write_list()

    def _write_list(self) -> None:
        if self._lines:
            data = "".join(self._lines).encode()
            self._lists.update(data)
            self.store.write(f"{LISTS}/{(self.files - 1) // LIST_LINES:05d}.txt", data)
            self._lines = []


def hold_output(store: Store, out: Output) -> None:
    """Read everything back. ``RunError`` where a file is not what was written, or is not of this export."""
    whole, listed = hashlib.sha256(), 0
    for number in range(-(-out.files // LIST_LINES)):
        data = store.read(f"{LISTS}/{number:05d}.txt")
        whole.update(data)
        lines = [line.partition("  ") for line in data.decode().splitlines()]
        with ThreadPoolExecutor(WRITERS) as pool:
            sums = pool.map(store.sha256, [name for _, _, name in lines])
            wrong = [name for (sha256, _, name), found in zip(lines, sums, strict=True) if sha256 != found]
        if wrong:
            raise RunError(
                f"{store.url(wrong[0])}: is not what was written; another program writes there. Export again"
            )
        listed += sum(not _hidden(name) for _, _, name in lines)
    if whole.hexdigest() != out.checksum:
        raise RunError(f"{store.url(LISTS)}: is not what was written; another program writes there. Export again")
    there = sum(1 for name in store.names(".") if not _own(name))
    if there != listed:
        raise RunError(
            f"{store.root}: holds {there} files where this export has {listed}; a reader would take others for its "
            "own. Export into an empty folder"
        )


def _own(name: str) -> bool:
    return name in (MARKER, BEGUN) or name.startswith(f"{LISTS}/") or _hidden(name)


def _hidden(name: str) -> bool:
    return PurePosixPath(name).name.startswith(".")
