"""A folder behind a URL (local path, file://, s3://, gs://, memory://), read and written whole, file by file.

Every write replaces a file under a deterministic name, and is all or nothing: on a local disk by writing beside it
and renaming, on an object store because a put is atomic there. Nothing is ever appended.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from farm.errors import RunError


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
        return f"{self.root.rstrip('/')}/{_confined(name)}" if name else self.root

    def local(self, name: str = "") -> Path:
        """The path of ``name`` on this machine's disk; ``RunError`` where the store is not local."""
        if self._local is None:
            raise RunError(f"{self.root}: is not on a local disk; copy the run folder to a disk first")
        return self._local / _confined(name) if name else self._local

    def exists(self, name: str) -> bool:
        """Whether a file of this name is there."""
        if self._local is not None:
            return (self._local / _confined(name)).is_file()
        return bool(self._remote().exists(self.url(name)))

    def read(self, name: str) -> bytes:
        """The bytes of ``name``; ``RunError`` where it is not there."""
        try:
            if self._local is not None:
                return (self._local / _confined(name)).read_bytes()
            return bytes(self._remote().cat_file(self.url(name)))
        except FileNotFoundError as error:
            raise RunError(f"{self.url(name)}: is missing; run 'farm verify {self.root}'") from error

    def write(self, name: str, data: bytes) -> None:
        """Replace ``name`` by ``data``; a reader sees the old file or the new one, never a half."""
        name = _confined(name)
        if self._local is None:
            self._remote().pipe_file(self.url(name), data)
            return
        path = self._local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def names(self, folder: str) -> Iterator[str]:
        """The names of the files anywhere below ``folder``, sorted."""
        if self._local is not None:
            base = self._local / _confined(folder)
            found = (path for path in base.rglob("*") if path.is_file() and not path.name.startswith("."))
            yield from sorted(path.relative_to(self._local).as_posix() for path in found)
            return
        prefix = self._remote()._strip_protocol(self.root).rstrip("/") + "/"
        listed = self._remote().find(self.url(folder))
        yield from sorted(str(path).removeprefix(prefix) for path in listed)

    def _remote(self) -> Any:
        if self._fs is None:
            import fsspec

            self._fs, _ = fsspec.core.url_to_fs(self.root)
        return self._fs


def _normal(root: str) -> str:
    if root.startswith("file://"):
        root = root.removeprefix("file://")
    return root if "://" in root else str(Path(root).absolute())


def _confined(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not name:
        raise RunError(f"{name!r}: is not a name inside a run folder")
    return path.as_posix()
