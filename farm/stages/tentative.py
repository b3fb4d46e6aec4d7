"""Tentative verdicts, one file a shard below the judge's folder: they come before what concerns all rows at once."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from farm.config import Run
from farm.datasets.photo import PhotoSet
from farm.ids import shard_name
from farm.parts import from_checked_parquet, to_batch, to_checked_parquet, to_table
from farm.rows import JUDGED, VERDICT, Array, Batch
from farm.run_folder import RunFolder
from farm.stages.judge import Judge
from farm.stages.photo_vectors import SPLITS, PhotoVectors, grains, photo_crops
from farm.stages.settle import GROUPS

COLUMNS = (*VERDICT, *(column for column in JUDGED if column.name in GROUPS))
BLOCK_ROWS = 131_072  # vectors of kept rows that lie in one array


class Tentative:
    """The tentative verdicts of the present judge of one run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._place = folder.verdict_name("tentative")

    def judge(self, run: Run, photos: PhotoSet) -> Judge:
        """The stage that makes them, from the stored vectors of the photographs."""
        seen = PhotoVectors(self.folder, photos).read()
        train, shots, test = ((seen[name].ids, seen[name].vectors) for name in SPLITS)
        return Judge(run.filter, train, shots, test, photo_crops(seen), grains(seen))

    def done(self) -> set[int]:
        """The shards that have theirs."""
        names = (name.rpartition("/")[2].partition(".")[0] for name in self.folder.store.names(self._place))
        return {int(name.removeprefix("shard-")) for name in names}

    def missing(self, among: Sequence[int]) -> list[int]:
        """The shards of ``among`` that have none yet, in order."""
        return sorted(set(among) - self.done())

    def write(self, shard: int, judge: Judge) -> dict[str, int]:
        """Judge ``shard`` and write what comes of it; a line of counts."""
        columns = to_batch(self.folder.facts(shard))
        verdicts = judge.judge(columns)
        table = to_table({**verdicts, **{name: columns[name] for name in GROUPS}}, COLUMNS)
        self.folder.store.write(self._name(shard), to_checked_parquet(table))
        kept = int(verdicts["keep"].sum())
        return {"shard": shard, "rows": len(verdicts["row"]), "kept": kept}

    def read(self, shards: Sequence[int]) -> Batch:
        """``COLUMNS`` of all rows of ``shards``, in their order; only the columns, so a million rows are small."""
        parts = [to_batch(self._table(shard)) for shard in shards]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def blocks(self, verdicts: Mapping[str, Array]) -> list[list[int]]:
        """The shards, in order, in groups whose kept rows are about ``BLOCK_ROWS`` each."""
        size = self.folder.run().cluster.shard_rows
        kept = np.bincount(verdicts["row"].astype(np.int64) // size, weights=verdicts["keep"])
        groups: list[list[int]] = [[]]
        held = 0
        for shard, count in enumerate(kept.astype(int).tolist()):
            if held and held + count > BLOCK_ROWS:
                groups.append([])
                held = 0
            groups[-1].append(shard)
            held += count
        return groups

    def vectors(self, shards: list[int]) -> npt.NDArray[np.float32]:
        """(n, D) unit vectors of the tentatively kept rows of ``shards``, in row order."""
        found = []
        for shard in shards:
            keep = self._table(shard)["keep"].to_numpy()
            found.append(to_batch(self.folder.facts(shard).select(["embedding"]))["embedding"][keep])
        return np.concatenate(found).astype(np.float32, copy=False)

    def clear(self) -> None:
        """Take them away: the final verdicts are written."""
        for shard in sorted(self.done()):
            self.folder.store.remove(self._name(shard))

    def _table(self, shard: int) -> pa.Table:
        return from_checked_parquet(self.folder.store.read(self._name(shard)))

    def _name(self, shard: int) -> str:
        return f"{self._place}/{shard_name(shard)}.parquet"
