"""A run is a folder behind a URL, and the folder is the truth (decision 1).

run.yaml                           resolved config, fingerprints, versions, commit, hardware
lease.json                         which driver is at work on it, with expiry
progress.json                      how far that driver is; only for people
attempts/shard-000017/             one file an attempt at a shard that is not committed yet
sources/index.parquet              photographs used: id, sha256, split, category, licence, status, reason
sources/vectors-<embedder>/        unit vectors of the photographs, in blocks
inversions/<model>-<schedule>/     block-000003.safetensors + .json: fp16 trajectories, checksummed
candidates/shard-000017/           part.parquet (all rows of the shard) + done.json, written last
facts/shard-000017-<part>.parquet  the small columns and the vectors of a part, for the judge
verdicts/<judge>/                  verdicts.parquet, calibration.json: never touches images; tentative/ while it is made
detectors/<stage>/                 model.safetensors, card.json
evaluation/<stage>/                scores.parquet, maps/
ledger.parquet metrics.json        derived, can be rebuilt
report/index.html
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from farm.config import Run, parse
from farm.config.load import read_yaml
from farm.errors import ConfigError, RunError
from farm.ids import shard_name
from farm.parts import from_checked_parquet, from_parquet, to_checked_parquet, to_parquet
from farm.rows import JUDGED
from farm.store import Store, json_bytes

_FOREIGN = "Give another output folder (--set output=...), or put the run.yaml of this run back"

READERS = 16  # threads that read markers


class RunFolder:
    """Reads and writes one run folder. Cheap to build and to pickle; every worker has its own."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)

    # run.yaml

    def settings(self) -> dict[str, Any]:
        """What run.yaml holds: ``config``, ``fingerprints``, ``versions``, ``commit``, ``hardware``.

        Raises ``RunError`` where there is none, or one that no run wrote.
        """
        if not self.store.exists("run.yaml"):
            raise RunError(f"{self.store.root}: has no run.yaml, so it is not a run folder; give the folder of a run")
        url = self.store.url("run.yaml")
        try:
            settings = read_yaml(self.store.read("run.yaml"), url)
        except ConfigError as error:
            raise RunError(f"{error}\n{_FOREIGN}") from error
        config = settings.get("config") if isinstance(settings, dict) else None
        if not isinstance(config, dict) or not all(isinstance(config.get(name), dict) for name in ("data", "cluster")):
            raise RunError(f"{url}: was not written by a run: it has no config with data and cluster. {_FOREIGN}")
        return dict(settings)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Replace run.yaml by what ``settings`` gave, changed or new."""
        self.store.write("run.yaml", yaml.safe_dump(settings, sort_keys=False, width=100).encode())

    def run(self) -> Run:
        """The resolved config that made this folder."""
        return parse(self.settings()["config"], self.store.url("run.yaml"))

    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of plan, judge, model, photos and embedder, as settled when the run was planned."""
        prints = self.settings().get("fingerprints")
        if not isinstance(prints, dict) or not {"plan", "photos", "model"} <= prints.keys():
            raise RunError(f"{self.store.url('run.yaml')}: has no fingerprints of plan, photos and model. {_FOREIGN}")
        return prints

    # candidates

    def shard_count(self) -> int:
        """How many shards the plan has."""
        run = self.run()
        return -(-run.rows // run.cluster.shard_rows)

    def is_done(self, shard: int) -> bool:
        """Whether the shard's marker is there."""
        return self.store.exists(f"{_shard(shard)}/done.json")

    def done(self, shard: int) -> dict[str, Any]:
        """The shard's marker: id range, row count, counts by status, checksum, plan fingerprint, costs."""
        return dict(json.loads(self.store.read(f"{_shard(shard)}/done.json")))

    def done_shards(self) -> set[int]:
        """The shards of the plan whose marker and part are both there, by one listing of the folder."""
        there: dict[str, set[str]] = {}
        for name in self.store.names("candidates"):
            folder, _, file = name.removeprefix("candidates/").rpartition("/")
            there.setdefault(folder, set()).add(file)
        count = self.shard_count()
        return {shard for shard in range(count) if {"done.json", "part.parquet"} <= there.get(shard_name(shard), set())}

    def markers(self) -> dict[int, dict[str, Any]]:
        """The markers of all committed shards, in shard order."""
        shards = sorted(self.done_shards())
        with ThreadPoolExecutor(READERS) as pool:  # an object store takes tens of milliseconds for each
            return dict(zip(shards, pool.map(self.done, shards), strict=True))

    def write_shard(self, shard: int, table: pa.Table, marker: dict[str, Any]) -> None:
        """Commit a shard: its part first, the marker with the part's checksum last."""
        data = to_parquet(table)
        self.store.write(f"{_shard(shard)}/part.parquet", data)
        marker = {"shard": shard, **marker, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.store.write(f"{_shard(shard)}/done.json", json_bytes(marker))

    def read_shard(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a committed shard (``rows.ENCODED``), or some of their columns.

        Raises ``RunError`` where the part is not what its marker says.
        """
        data = self.store.read(f"{_shard(shard)}/part.parquet")
        if hashlib.sha256(data).hexdigest() != self.done(shard)["sha256"]:
            raise RunError(
                f"{self.store.url(_shard(shard))}/part.parquet: its checksum is not its marker's, so it was damaged "
                f"after it was written; run 'farm verify {self.store.root} --repair', then the same command again"
            )
        return from_parquet(data, list(columns) if columns else None)

    def facts(self, shard: int) -> pa.Table:
        """The small columns and the vector of each row of a committed shard (``rows.JUDGED``), without its pictures.

        They are copied out of the part when they are first asked for, so that a later question reads a hundredth of
        the bytes. The copy's name has the part's checksum in it; one that is damaged is made anew.
        """
        name = f"facts/{shard_name(shard)}-{self.done(shard)['sha256'][:16]}.parquet"
        if self.store.exists(name):
            try:
                return from_checked_parquet(self.store.read(name))
            except (pa.ArrowException, OSError):
                self.store.remove(name)
        table = self.read_shard(shard, [column.name for column in JUDGED])
        self.store.write(name, to_checked_parquet(table))
        return table

    def forget_shard(self, shard: int) -> None:
        """Make ``shard`` missing, so that it is planned again: the marker goes first."""
        self.store.remove(f"{_shard(shard)}/done.json")
        self.store.remove(f"{_shard(shard)}/part.parquet")

    def candidates(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The committed shards' tables, in shard order."""
        for shard in sorted(self.done_shards()):
            yield self.read_shard(shard, columns)

    # verdicts

    def verdict_name(self, name: str) -> str:
        """The name of a file of the present judge, e.g. ``verdicts.parquet`` or ``calibration.json``."""
        return f"verdicts/{self.fingerprints()['judge']}/{name}"

    def verdicts(self) -> pa.Table:
        """``rows.VERDICT`` of every candidate, in row order; ``RunError`` where the run is not judged yet."""
        name = self.verdict_name("verdicts.parquet")
        if not self.store.exists(name):
            raise RunError(f"{self.store.root}: is not judged yet; run 'farm run' on its config, or 'farm generate'")
        return from_parquet(self.store.read(name))

    def kept(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The kept rows of each committed shard, with ``columns``, in row order."""
        verdicts = self.verdicts()
        rows = pc.filter(verdicts["row"], verdicts["keep"])
        for table in self.candidates([*dict.fromkeys(["row", *columns])]):
            yield table.filter(pc.is_in(table["row"], value_set=rows.combine_chunks()))

    # small derived files

    def read_json(self, name: str) -> Any:
        """A JSON file of the run."""
        return json.loads(self.store.read(name))

    def write_json(self, name: str, value: Any) -> None:
        """Replace a JSON file of the run (sorted keys, so equal values give equal bytes)."""
        self.store.write(name, json_bytes(value))

    def read_table(self, name: str) -> pa.Table:
        """A Parquet file of the run."""
        return from_parquet(self.store.read(name))

    def write_table(self, name: str, table: pa.Table) -> None:
        """Replace a Parquet file of the run."""
        self.store.write(name, to_parquet(table))


def _shard(shard: int) -> str:
    return f"candidates/{shard_name(shard)}"
