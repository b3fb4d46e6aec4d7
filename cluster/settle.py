"""Settling a run on Ray: one task reads the tentative verdicts and decides; for many rows, workers search for it.

FAISS runs in tasks that import no torch (decision 8); nothing of it passes through the driver.
"""

from typing import Any

import numpy as np

from cluster import dedup
from cluster.causes import plain
from farm import rounds
from farm.config import Run
from farm.dedup import Blocks, near_duplicates
from farm.dedup.cells import Ranks, cells_for
from farm.dedup.greedy import trained
from farm.run_folder import RunFolder
from farm.settle_folder import Gather, Search, settle_folder, settled
from farm.source_index import read_index
from farm.stages.tentative import Tentative


def settle(run: Run, url: str) -> dict[str, int]:
    """Write the final verdicts of the present judge; every shard has its tentative ones. Ray must be joined."""
    import ray

    with plain():
        counts: dict[str, int] = ray.get(ray.remote(num_cpus=1)(_settle).remote(url, run.cluster.judge.actors))
    return counts


def decide(run: Run, url: str, number: int) -> None:
    """Decide round ``number`` of the budget; every shard of the rounds before it has its tentative verdicts."""
    import ray

    with plain():
        ray.get(ray.remote(num_cpus=1)(_decide).remote(url, number, run.cluster.judge.actors))


def _settle(url: str, workers: int) -> dict[str, int]:
    folder = RunFolder(url)
    return settle_folder(folder, *_shared(folder, workers))


def _decide(url: str, number: int, workers: int) -> None:
    folder = RunFolder(url)
    run = folder.run()
    plan = rounds.open_plan(folder, run, read_index(folder), folder.fingerprints()["model"])
    rounds.decide(folder, plan, number, lambda shards: settled(folder, shards, *_shared(folder, workers)))


def _shared(folder: RunFolder, workers: int) -> tuple[Gather, Search]:
    """Reading vectors and searching among them, shared out over ``workers``."""
    import ray

    run = folder.run()
    cpus, threshold = run.cluster.judge.cpus, run.filter.near_duplicate
    refs: list[Any] = []

    def gather(groups: list[list[int]]) -> list[Any]:
        read = ray.remote(num_cpus=cpus)(_vectors)
        refs.extend(read.remote(folder.store.root, shards) for shards in groups)
        return list(ray.get(refs))

    def search(chosen: Blocks) -> Ranks:
        if cells_for(len(chosen)) == 1:  # a second's work
            return near_duplicates(chosen, threshold, run.seed)
        return dedup.near_duplicates(refs, chosen.places, threshold, trained(chosen, run.seed), workers, cpus)

    return gather, search


def _vectors(url: str, shards: list[int]) -> Any:
    return np.ascontiguousarray(Tentative(RunFolder(url)).vectors(shards))
