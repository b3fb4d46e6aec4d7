"""A run is a folder behind a URL, and the folder is the truth (decision 1).

run.yaml                           resolved config, fingerprints, versions, commit, hardware
sources/index.parquet              photographs used: id, sha256, split, category, licence, status, reason
sources/embeddings-<embedder>.parquet  unit vectors of the normals
inversions/<model>-<schedule>/     block-000003.safetensors + .json: fp16 trajectories, checksummed
candidates/shard-000017/           part.parquet (all rows of the shard) + done.json, written last
verdicts/<judge>/                  verdicts.parquet, calibration.json: never touches images
detectors/<stage>/                 model.safetensors, card.json
evaluation/<stage>/                scores.parquet, maps/
ledger.parquet metrics.json        derived, can be rebuilt
report/index.html
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from farm.config import Run, parse
from farm.errors import RunError
from farm.parts import from_parquet, to_parquet
from farm.store import Store


class RunFolder:
    """Reads and writes one run folder. Cheap to build and to pickle; every worker has its own."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)

    # run.yaml

    def settings(self) -> dict[str, Any]:
        """What run.yaml holds: ``config``, ``fingerprints``, ``versions``, ``commit``, ``hardware``."""
        if not self.store.exists("run.yaml"):
            raise RunError(f"{self.store.root}: has no run.yaml, so it is not a run folder; give the folder of a run")
        settings: dict[str, Any] = yaml.safe_load(self.store.read("run.yaml"))
        return settings

    def run(self) -> Run:
        """The resolved config that made this folder."""
        return parse(self.settings()["config"], self.store.url("run.yaml"))

    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of plan, judge, model, photos and embedder, as settled when the run was planned."""
        return dict(self.settings()["fingerprints"])

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

    def write_shard(self, shard: int, table: pa.Table, marker: dict[str, Any]) -> None:
        """Commit a shard: its part first, the marker with the part's checksum last."""
        data = to_parquet(table)
        self.store.write(f"{_shard(shard)}/part.parquet", data)
        marker = {"shard": shard, **marker, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.store.write(f"{_shard(shard)}/done.json", _json(marker))

    def read_shard(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a committed shard (``rows.ENCODED``), or some of their columns."""
        return from_parquet(self.store.read(f"{_shard(shard)}/part.parquet"), list(columns) if columns else None)

    def candidates(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The committed shards' tables, in shard order."""
        for shard in range(self.shard_count()):
            if self.is_done(shard):
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
        self.store.write(name, _json(value))

    def read_table(self, name: str) -> pa.Table:
        """A Parquet file of the run."""
        return from_parquet(self.store.read(name))

    def write_table(self, name: str, table: pa.Table) -> None:
        """Replace a Parquet file of the run."""
        self.store.write(name, to_parquet(table))


def _shard(shard: int) -> str:
    return f"candidates/shard-{shard:06d}"


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
