"""Bytes of the files of a data set: regular, inside the root, bounded in size, and never a wait."""

import os
import stat
from pathlib import Path

from farm.datasets.tree import is_inside
from farm.errors import DataError

BYTES_PER_PIXEL, BYTES_BESIDE = 8, 1_000_000  # 16-bit RGBA uncompressed, and room for metadata
LIST_BYTES = 16_000_000  # of a list, a table or a config


def read_bytes(path: Path, root: Path | None, max_megapixels: float) -> bytes:
    """The bytes of a regular file inside ``root``, if no larger than a picture may be; ``DataError`` otherwise."""
    where = str(path) if root is None else path.relative_to(root).as_posix()
    if root is not None and not is_inside(path, root):
        raise DataError(f"{where}: is a link that leaves {root}; copy the file instead")
    limit = int(max_megapixels * 1e6 * BYTES_PER_PIXEL) + BYTES_BESIDE
    try:
        data = _regular(path, where, limit + 1)
    except FileNotFoundError as error:
        raise DataError(
            f"{where}: is missing or not a regular file; pictures lie directly in the folder of their class"
        ) from error
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror}); mend its permissions") from error
    if len(data) > limit:
        raise DataError(
            f"{where}: is larger than {limit / 1e6:.0f} MB, the most that {max_megapixels:g} megapixels can take. "
            "Make the picture smaller or raise data.max_megapixels"
        )
    return data


def read_text(path: Path, what: str) -> str:
    """The text of a small file, UTF-8 with or without a byte order mark; ``what`` says in an error what it holds."""
    data = _regular(path, str(path), LIST_BYTES + 1)
    if len(data) > LIST_BYTES:
        raise DataError(f"{path}: is larger than {LIST_BYTES / 1e6:.0f} MB; {what}")
    return data.decode("utf-8-sig", errors="replace")


def _regular(path: Path, where: str, most: int) -> bytes:
    """The first ``most`` bytes of a regular file; ``DataError`` for a folder, a pipe or a device, and never a wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for a writer
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            what = "is a folder" if stat.S_ISDIR(found.st_mode) else "is missing or not a regular file"
            raise DataError(f"{where}: {what}; pictures lie directly in the folder of their class")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(min(most, found.st_size + 1))
    finally:
        os.close(descriptor)
