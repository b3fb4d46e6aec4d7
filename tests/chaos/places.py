"""Where a trial's run folder lives: a disk, a small disk that can be filled, an S3 store that can be cut.

The harness looks at a place past every fault: straight at the S3 server, not through its proxy.
"""

import errno
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tests.chaos.proxy import Mode, Proxy

SMALL_DISK_MIB = 192  # a run of 48 shards of 8 rows at 256 px is about 50 MB
BUCKET = "farm"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos", "AWS_DEFAULT_REGION": "us-east-1"}


class NotHereError(Exception):
    """This machine cannot offer such a place; the message says why."""


class Place(Protocol):
    """A run folder as the harness sees it."""

    url: str  # what the config says
    environment: dict[str, str]  # what drivers and workers need to reach it

    def names(self, below: str = "") -> Iterator[str]:
        """Names of the files there, relative to the run folder, sorted."""

    def read(self, name: str) -> bytes:
        """The bytes of a file."""

    def write(self, name: str, data: bytes) -> None:
        """Put ``data`` in place of a file."""

    def delete(self, name: str) -> None:
        """Remove a file."""

    def break_(self, how: str) -> None:
        """Fill the disk, or cut the store."""

    def mend(self) -> None:
        """End that."""

    def close(self) -> None:
        """Give everything back."""


class Disk:
    """A folder of a local disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, str(folder / "run")
        self.environment: dict[str, str] = {}
        Path(self.url).mkdir(parents=True)

    def names(self, below: str = "") -> Iterator[str]:
        """See ``Place``; half-written files, whose names start with a dot, are left out."""
        root = Path(self.url)
        found = ((at, name) for at, _, names in os.walk(root / below) for name in names)
        yield from sorted(str((Path(at) / name).relative_to(root)) for at, name in found if not name.startswith("."))

    def read(self, name: str) -> bytes:
        """See ``Place``."""
        return (Path(self.url) / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """See ``Place``."""
        (Path(self.url) / name).write_bytes(data)

    def delete(self, name: str) -> None:
        """See ``Place``."""
        (Path(self.url) / name).unlink()

    def break_(self, how: str) -> None:
        """A disk of this size cannot be filled."""
        raise NotHereError(f"{self.url}: {how}: only a small disk or an S3 store can be broken")

    def mend(self) -> None:
        """Nothing was broken."""

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class SmallDisk(Disk):
    """A tmpfs of its own; ``NotHereError`` where mounting is refused."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NotHereError(f"no small disk: {error}") from error
        if done.returncode:
            raise NotHereError(f"no small disk: {done.stderr.strip()}")
        self._filler = folder / "filler"
        super().__init__(folder)

    def break_(self, how: str) -> None:
        """Fill it to the last byte."""
        block = b"\0" * 2**20
        with self._filler.open("ab", buffering=0) as file:
            while block:
                try:
                    file.write(block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    block = block[: len(block) // 2]

    def mend(self) -> None:
        """Free it."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount and remove."""
        self.mend()
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)
        super().close()


class Server:
    """An S3 server in this process, shared by all trials."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()
        os.environ.update(ENVIRONMENT)
        self.files = _filesystem(f"http://{self.host}:{self.port}")
        self.files.mkdir(BUCKET)

    def close(self) -> None:
        """Stop it."""
        self._server.stop()


class ObjectStore:
    """A prefix of the server's bucket, reached by the run through a proxy that can fail."""

    def __init__(self, server: Server, prefix: str, seed: int) -> None:
        self._files, self._root = server.files, f"{BUCKET}/{prefix}"
        self._proxy = Proxy(server.host, server.port, seed)
        self.url = f"s3://{self._root}"
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": self._proxy.url}

    def names(self, below: str = "") -> Iterator[str]:
        """See ``Place``."""
        found = self._files.find(f"{self._root}/{below}".rstrip("/"))
        yield from sorted(str(name).removeprefix(f"{self._root}/") for name in found)

    def read(self, name: str) -> bytes:
        """See ``Place``."""
        return bytes(self._files.cat_file(f"{self._root}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        """See ``Place``."""
        self._files.pipe_file(f"{self._root}/{name}", data)

    def delete(self, name: str) -> None:
        """See ``Place``."""
        self._files.rm_file(f"{self._root}/{name}")

    def break_(self, how: str) -> None:
        """Cut it: ``how`` is a mode of the proxy."""
        modes: dict[str, Mode] = {"errors": "errors", "slow": "slow", "drop": "drop", "refuse": "refuse"}
        self._proxy.faults.mode = modes[how]

    def mend(self) -> None:
        """Let everything through again."""
        self._proxy.faults.mode = "ok"

    def close(self) -> None:
        """Stop the proxy and delete the objects."""
        self._proxy.close()
        names = [f"{self._root}/{name}" for name in self.names()]
        if names:
            self._files.rm(names)


def _filesystem(endpoint: str) -> Any:
    import s3fs

    return s3fs.S3FileSystem(
        endpoint_url=endpoint, use_listings_cache=False, skip_instance_cache=True, client_kwargs={}
    )
