"""What a finished run folder holds, row by row and file by file, and how that differs from the undisturbed run's."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from farm.parts import from_parquet
from tests.chaos.places import Place

PART, MARKER = "part.parquet", "done.json"


@dataclass(frozen=True)
class Seen:
    """The dataset of a run folder: every row of every committed shard, and every file that must be equal."""

    rows: tuple[tuple[str, str], ...]  # (sample id, checksum of all its columns), one entry for each time it is there
    files: dict[str, str]  # name below the run folder → sha256


@dataclass(frozen=True)
class Difference:
    """Sample ids (rows) and names (files) that are not as in the undisturbed run; all empty where it is identical."""

    missing: tuple[str, ...]
    duplicate: tuple[str, ...]
    alien: tuple[str, ...]  # ids that the undisturbed run does not have
    differing: tuple[str, ...]  # ids whose bytes differ
    files: tuple[str, ...]  # names that are missing, additional or of other bytes

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.duplicate or self.alien or self.differing or self.files)

    def __str__(self) -> str:
        named = {name: getattr(self, name) for name in ("missing", "duplicate", "alien", "differing", "files")}
        told = [f"{len(found)} {name} ({', '.join(found[:3])})" for name, found in named.items() if found]
        return "; ".join(told) or "identical"


def look(place: Place) -> Seen:
    """Read the run folder at ``place``. A committed part that cannot be read has no rows, so they count as missing."""
    files: dict[str, str] = {}
    rows: list[tuple[str, str]] = []
    names = list(place.names())
    for name in filter(_is_compared, names):
        data = place.read(name)
        files[name] = hashlib.sha256(data).hexdigest()
        if name.startswith("candidates/") and f"{name.rpartition('/')[0]}/{MARKER}" in names:
            rows += _rows(data)
    return Seen(tuple(rows), files)


def compare(wanted: Seen, found: Seen) -> Difference:
    """How ``found`` differs from ``wanted``."""
    right, times = dict(wanted.rows), Counter(sample for sample, _ in found.rows)
    return Difference(
        missing=_sorted(set(right) - set(times)),
        duplicate=_sorted(sample for sample, count in times.items() if count > 1),
        alien=_sorted(set(times) - set(right)),
        differing=_sorted({sample for sample, digest in found.rows if right.get(sample, digest) != digest}),
        files=_sorted(dict(set(wanted.files.items()) ^ set(found.files.items()))),
    )


def _is_compared(name: str) -> bool:
    """Parts, verdicts and the photographs' index and vectors. Markers, settings and costs hold times and places."""
    top, last = name.split("/")[0], name.rpartition("/")[2]
    return top in ("candidates", "verdicts", "sources") and (last.endswith(".parquet") or last == "calibration.json")


def _rows(data: bytes) -> list[tuple[str, str]]:
    try:
        table = from_parquet(data)
    except (pa.ArrowException, OSError):
        return []
    lines = ((str(row["sample_id"]), repr(sorted(row.items())).encode()) for row in table.to_pylist())
    return [(sample, hashlib.sha256(line).hexdigest()) for sample, line in lines]


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def told(difference: Difference) -> dict[str, int]:
    """Counts for the JSON."""
    names = ("missing", "duplicate", "alien", "differing", "files")
    return {name: len(getattr(difference, name)) for name in names}


def committed(place: Place) -> list[int]:
    """The shards whose marker is there, in order."""
    found = [name.split("/") for name in place.names("candidates") if name.endswith(f"/{MARKER}")]
    return sorted(int(parts[1].removeprefix("shard-")) for parts in found if len(parts) == 3)


def shard_folder(shard: int) -> str:
    """Where a shard's part and marker are."""
    return f"candidates/shard-{shard:06d}"


def marked_sum(place: Place, shard: int) -> str:
    """The checksum that a shard's marker states."""
    return str(json.loads(place.read(f"{shard_folder(shard)}/{MARKER}"))["sha256"])
