"""A folder behind a URL (local path, file://, s3://, gs://, memory://), read and written whole, file by file.

Every write replaces a file under a deterministic name, and is all or nothing: on a local disk by writing beside it
and renaming, on an object store because a put is atomic there. Nothing is ever appended. A store that stumbles (a
dropped connection, a 500, a time-out) is asked again for about two minutes; what it still refuses is a ``StoreError``.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from farm.errors import FarmError, RunError, StoreError

TRIES = 9
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
ANSWERS = (FileNotFoundError, FileExistsError)  # not a stumble
OURS = (FarmError, TypeError, AttributeError, NotImplementedError, ImportError)  # asking again is no use

PIECE_BYTES = 4 * 2**20
TEMPORARY = ".tmp"  # ends the name of a file that is not finished

T = TypeVar("T")


def json_bytes(value: Any) -> bytes:
    """The bytes of a JSON file: sorted keys, so that equal values give equal bytes."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


class Store:
    """The files below one root. Names are relative POSIX paths; a name cannot leave the root."""

    def __init__(self, root: str) -> None:
        self.root = _normal(root)
        self._local = Path(self.root) if "://" not in self.root else None
        self._fs: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "_local": self._local, "_fs": None}

    def url(self, name: str = "") -> str:
        """The full path or URL of ``name``."""
        return f"{self.root.rstrip('/')}/{_confined(name)}" if name not in ("", ".") else self.root

    def local(self, name: str = "") -> Path:
        """The path of ``name`` on this machine's disk; ``RunError`` where the store is not local."""
        if self._local is None:
            raise RunError(f"{self.root}: is not on a local disk; copy the run folder to a disk first")
        return self._local / _confined(name) if name else self._local

    def exists(self, name: str) -> bool:
        """Whether a file of this name is there."""
        if self._local is not None:
            return (self._local / _confined(name)).is_file()
        return bool(self._ask(name, lambda fs, url: fs.exists(url)))

    def read(self, name: str) -> bytes:
        """The bytes of ``name``; ``RunError`` where it is not there."""
        try:
            if self._local is not None:
                return (self._local / _confined(name)).read_bytes()
            return bytes(self._ask(name, lambda fs, url: fs.cat_file(url)))
        except FileNotFoundError as error:
            raise RunError(f"{self.url(name)}: is missing; run 'farm verify {self.root}'") from error
        except OSError as error:
            raise StoreError(f"{self.url(name)}: cannot be read ({error.strerror or error})") from error

    def write(self, name: str, data: bytes) -> None:
        """Replace ``name`` by ``data``; a reader sees the old file or the new one, never a half.

        Raises ``StoreError`` where there is no room or no right to write; what was there before is there still.
        """
        name = _confined(name)
        if self._local is None:
            try:
                self._ask(name, lambda fs, url: fs.pipe_file(url, data))
            except FileNotFoundError as error:
                raise StoreError(f"{self.url(name)}: {error}; make the bucket first") from error
            return
        with self._beside(name, data) as (beside, path):
            beside.replace(path)

    def upload(self, name: str, path: Path) -> None:
        """``write`` what the file ``path`` of this machine holds, however large; its bytes are never all in memory."""
        if self._local is None:
            self._ask(name, lambda fs, url: fs.put_file(str(path), url))
            return
        with self._beside(name, path) as (beside, place):
            beside.replace(place)

    def sha256(self, name: str) -> str:
        """The checksum of ``name``, read piece by piece; ``RunError`` where it is not there."""
        try:
            if self._local is not None:
                with (self._local / _confined(name)).open("rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
            return str(self._ask(name, _digest))
        except FileNotFoundError as error:
            raise RunError(f"{self.url(name)}: is missing, though it was written") from error
        except OSError as error:
            raise StoreError(f"{self.url(name)}: cannot be read ({error.strerror or error})") from error

    def create(self, name: str, data: bytes) -> bool:
        """Write ``name`` if it is not there; False where it is. Of several writers at once exactly one gets True.

        By a hard link on a local disk, by a conditional put on an object store.
        """
        try:
            if self._local is None:
                self._ask(name, lambda fs, url: fs.pipe_file(url, data, mode="create"))
            else:
                with self._beside(name, data) as (beside, path):
                    os.link(beside, path)
        except FileExistsError:
            return self.read(name) == data  # an answer that got lost on its way: the first of two tries was ours
        return True

    def remove(self, name: str) -> None:
        """Delete ``name``; nothing happens where it is not there."""
        with contextlib.suppress(FileNotFoundError):
            if self._local is None:
                self._ask(name, lambda fs, url: fs.rm_file(url))
            else:
                (self._local / _confined(name)).unlink()

    @contextlib.contextmanager
    def _beside(self, name: str, data: bytes | Path) -> Iterator[tuple[Path, Path]]:
        """(a file beside ``name`` that holds ``data`` on the disk, the path of ``name``); the first is gone after.

        ``data`` may be a file to copy.
        """
        path = self.local(_confined(name))
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file)
                else:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield beside, path
        except OSError as error:
            if isinstance(error, FileExistsError) and path.parent.is_dir():
                raise  # an answer for ``create``
            raise StoreError(
                f"{path}: cannot be written ({error.strerror or error}); what was there before is whole. "
                "Free some space or mend the rights, then run the same command again: it goes on from here"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """The names of the files anywhere below ``folder``, sorted."""
        if self._local is not None:
            base = self._local / _confined(folder)
            found = (path for path in base.rglob("*") if path.is_file() and not path.name.startswith("."))
            yield from sorted(path.relative_to(self._local).as_posix() for path in found)
            return
        prefix = self._remote()._strip_protocol(self.root).rstrip("/") + "/"
        listed = self._ask(folder, lambda fs, url: _listed(fs, url))
        yield from sorted(path.removeprefix(prefix) for path in listed)

    def unfinished(self) -> list[str]:
        """The names of files that a writer which died left half written, sorted; none on an object store."""
        if self._local is None:
            return []
        found = (path for path in self._local.rglob(f".*{TEMPORARY}") if path.is_file())
        return sorted(path.relative_to(self._local).as_posix() for path in found)

    def _ask(self, name: str, question: Callable[[Any, str], T]) -> T:
        """``question`` of (file system, URL of ``name``), asked again while the store stumbles."""
        url, pause = self.url(_confined(name)), FIRST_PAUSE_S
        for left in range(TRIES - 1, -1, -1):
            try:
                return question(self._remote(), url)
            except (*ANSWERS, *OURS):
                raise
            except Exception as error:  # what a driver raises for a stumble is its own: OSError, ClientError, ...
                if not left or isinstance(error, PermissionError):
                    said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                    raise StoreError(
                        f"{url}: refused or not answered, after {TRIES - left} tries; last: {said}. What is "
                        "committed is whole: run the same command again when it answers"
                    ) from error
                time.sleep(pause * random.uniform(0.5, 1.0))  # the pause alone: no result depends on it
                pause = min(2 * pause, LONGEST_PAUSE_S)
        raise AssertionError("not reached")

    def _remote(self) -> Any:
        if self._fs is None:
            import fsspec

            self._fs, _ = fsspec.core.url_to_fs(self.root, use_listings_cache=False)
        return self._fs


def _digest(fs: Any, url: str) -> str:
    with fs.open(url, "rb") as file:
        whole = hashlib.sha256()
        while piece := file.read(PIECE_BYTES):
            whole.update(piece)
    return whole.hexdigest()


def _listed(fs: Any, url: str) -> list[str]:
    fs.invalidate_cache()  # another process may have written since
    return [str(path) for path in fs.find(url)]


def _normal(root: str) -> str:
    if root.startswith("file://"):
        root = root.removeprefix("file://")
    return root if "://" in root else str(Path(root).absolute())


def _confined(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not name:
        raise RunError(f"{name!r}: is not a name inside a run folder")
    return path.as_posix()
