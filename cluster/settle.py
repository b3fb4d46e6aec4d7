"""Settling a run on Ray: one task reads the tentative verdicts and decides; for many rows, workers search for it.

FAISS runs in tasks that import no torch (decision 8); nothing of it passes through the driver.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from cluster import dedup
from cluster.causes import plain
from farm.config import Run
from farm.dedup import Blocks, near_duplicates
from farm.dedup.cells import Ranks, cells_for
from farm.dedup.greedy import trained
from farm.parts import to_table
from farm.rows import VERDICT, VERDICTS
from farm.run_folder import RunFolder
from farm.source_index import read_index
from farm.stages.settle import GROUPS
from farm.stages.settle import settle as settle_rows
from farm.stages.tentative import Tentative, laid_out


def settle(run: Run, url: str) -> dict[str, int]:
    """Write verdicts.parquet and calibration.json of the present judge; every shard has its tentative verdicts."""
    import ray

    with plain():
        counts: dict[str, int] = ray.get(ray.remote(num_cpus=1)(settle_run).remote(url, run.cluster.judge.actors))
    return counts


def settle_run(url: str, workers: int = 0) -> dict[str, int]:
    """Settle the tentative verdicts of a run and commit what comes of it; without ``workers``, in this process."""
    folder = RunFolder(url)
    run = folder.run()
    tentative = Tentative(folder)
    columns = tentative.read()
    verdicts = {column.name: columns[column.name] for column in VERDICT}
    groups = tentative.blocks(verdicts)
    refs, parts = _on_ray(url, run, groups) if workers else ([], [tentative.vectors(shards) for shards in groups])
    vectors = laid_out(parts)

    def find(places: Ranks) -> Ranks:
        chosen = Blocks(vectors.parts, vectors.places[places])
        if not workers or cells_for(len(chosen)) == 1:
            return near_duplicates(chosen, run.filter.near_duplicate, run.seed)
        cells = trained(chosen, run.seed)
        cpus = run.cluster.judge.cpus
        return dedup.near_duplicates(refs, chosen.places, run.filter.near_duplicate, cells, workers, cpus)

    final = settle_rows(run.filter, verdicts, {name: columns[name] for name in GROUPS}, vectors, find)
    judge = tentative.judge(run, read_index(folder))
    folder.write_json(folder.verdict_name("calibration.json"), asdict(judge.calibration))
    folder.write_table(folder.verdict_name("verdicts.parquet"), to_table(final, VERDICT))
    tentative.clear()
    return {name: int((final["verdict"] == name).sum()) for name in VERDICTS}


def _on_ray(url: str, run: Run, groups: list[list[int]]) -> tuple[list[Any], list[Any]]:
    """The vectors of the kept rows in Ray's object store: references, and the arrays mapped from there."""
    import ray

    read = ray.remote(num_cpus=run.cluster.judge.cpus)(_vectors)
    refs = [read.remote(url, shards) for shards in groups]
    return refs, ray.get(refs)


def _vectors(url: str, shards: list[int]) -> Any:
    return np.ascontiguousarray(Tentative(RunFolder(url)).vectors(shards))
