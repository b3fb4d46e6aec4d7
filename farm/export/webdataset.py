"""WebDataset: tars of bounded size, three members a picture, in row order.

shard-000000.tar    <id>.image.png, <id>.json, <id>.mask.png; of one picture side by side, in the order of their names

Members have no time, owner or user, so the same pictures give the same bytes.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO

from farm.export.base import Format
from farm.export.contents import Contents
from farm.export.output import Output
from farm.export.pictures import Picture
from farm.store import json_bytes

Members = dict[str, bytes]


def _write(pictures: Iterable[Picture], contents: Contents, out: Output) -> None:  # noqa: ARG001
    waiting = map(_members, pictures)
    number, first = 0, next(waiting, None)
    while first is not None:
        with out.file(f"shard-{number:06d}.tar") as file:
            first = _fill(file, first, waiting, out.shard_bytes)
        number += 1


def _fill(file: IO[bytes], first: Members, waiting: Iterator[Members], most: int) -> Members | None:
    """A tar of ``first`` and as many more as ``most`` bytes hold; returns those of the next tar, None at the end."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        members: Members | None = first
        size = tarfile.RECORDSIZE  # the end of the archive, filled up to a record
        while members is not None and (members is first or size + _size(members) <= most):
            size += _size(members)
            for name in sorted(members):
                _add(tar, name, members[name])
            members = next(waiting, None)
    return members


def _members(picture: Picture) -> Members:
    facts = {"label": picture.label, **picture.facts}
    return {
        f"{picture.name}.image.png": picture.image_png,
        f"{picture.name}.json": json_bytes(facts),
        f"{picture.name}.mask.png": picture.mask_png,
    }


def _size(members: Members) -> int:
    """Bytes in a tar: a block before each member, and its data in whole blocks."""
    return sum(tarfile.BLOCKSIZE * (1 + -(-len(data) // tarfile.BLOCKSIZE)) for data in members.values())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # mtime, uid and gid are 0, the mode is 0644
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


FORMAT = Format(
    name="webdataset",
    write=_write,
    has_verdicts=True,
    about="WebDataset tars: of each picture `<id>.image.png`, `<id>.mask.png` (0 and 255) and `<id>.json`.",
)
