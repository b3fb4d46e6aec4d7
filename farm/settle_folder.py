"""From the tentative verdicts of a run folder to its final ones, committed."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from farm.dedup import Blocks
from farm.dedup.cells import Ranks
from farm.parts import to_table
from farm.rows import VERDICT, VERDICTS, Batch
from farm.run_folder import RunFolder
from farm.source_index import read_index
from farm.stages.settle import GROUPS, settle
from farm.stages.tentative import Tentative

Vectors = npt.NDArray[np.float32]
Gather = Callable[[list[list[int]]], list[Vectors]]  # groups of shards → the vectors of their kept rows
Search = Callable[[Blocks], Ranks]  # vectors by rank → for each the rank that refuses it, or -1


def settled(
    folder: RunFolder, shards: Sequence[int], gather: Gather | None = None, search: Search | None = None
) -> Batch:
    """``rows.VERDICT`` of all rows of ``shards``, which have tentative verdicts, as if there were no others.

    ``gather`` and ``search`` may share the work out; without them it is done here.
    """
    run = folder.run()
    tentative = Tentative(folder)
    columns = tentative.read(shards)
    verdicts = {column.name: columns[column.name] for column in VERDICT}
    blocks = tentative.blocks(verdicts)
    parts = gather(blocks) if gather else [tentative.vectors(block) for block in blocks]
    vectors = Blocks(parts, np.arange(sum(len(part) for part in parts), dtype=np.int64))
    find = None if search is None else lambda places: search(vectors.of(places))
    return settle(run.filter, verdicts, {name: columns[name] for name in GROUPS}, vectors, find)


def settle_folder(folder: RunFolder, gather: Gather | None = None, search: Search | None = None) -> dict[str, int]:
    """Write verdicts.parquet and calibration.json of the present judge; every shard has its tentative verdicts.

    ``gather`` and ``search`` as in ``settled``. Returns the rows of each verdict.
    """
    final = settled(folder, range(folder.shard_count()), gather, search)
    run, tentative = folder.run(), Tentative(folder)
    facts = tentative.judge(run, read_index(folder)).facts()
    folder.write_json(folder.verdict_name("calibration.json"), facts)
    folder.write_table(folder.verdict_name("verdicts.parquet"), to_table(final, VERDICT))
    tentative.clear()
    return {name: int((final["verdict"] == name).sum()) for name in VERDICTS}
