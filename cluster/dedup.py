"""Near-duplicates on Ray: cells are given out block by block, and each worker looks into a range of them.

The vectors lie in Ray's object store, once for each machine, and are mapped by its workers; what comes back from a
worker is short. The answer is that of ``farm.dedup`` in one process (a test compares).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from farm.dedup import Blocks, Buckets, Cells, Looks, resolve
from farm.dedup.buckets import NOBODY, Flags
from farm.dedup.cells import Cell, Ranks
from farm.dedup.hints import hints

RANGES_PER_WORKER = 4  # so that one with large cells holds up nobody for long


def near_duplicates(
    blocks: Sequence[Any],
    places: Ranks,
    threshold: float,
    cells: Cells,
    workers: int,
    cpus: float = 1.0,
) -> Ranks:
    """For each rank the rank that refuses it, -1 where it is kept (``farm.dedup.resolve``). Ray must be joined.

    ``blocks`` are references to (n, D) arrays of unit vectors and ``places`` (N,) the place of each rank in them, laid
    end to end. The cells are looked into in ``workers`` x ``RANGES_PER_WORKER`` tasks, with ``cpus`` each.
    """
    import ray

    asks = {"num_cpus": cpus}
    shared = ray.put(cells)
    looks = ray.remote(**asks, num_returns=2)(_looks)
    asked = [looks.remote(shared, block, threshold) for block in blocks]
    found = Looks.joined(ray.get([one for one, _ in asked])).of(places)
    short = [ref for _, ref in asked]
    ranges = _ranges(found.home, len(cells), workers * RANGES_PER_WORKER)
    held = ray.put(found), ray.put(places)
    look = ray.remote(**asks)(_look)

    def search(asking: Ranks, gone: Flags) -> Ranks:
        told = ray.put(asking), ray.put(gone)
        best = np.full(len(asking), NOBODY, np.int64)
        parts = [look.remote(list(blocks), short, *held, threshold, *told, low, high) for low, high in ranges]
        while parts:
            (done,), parts = ray.wait(parts)
            which, first = ray.get(done)
            best[which] = np.minimum(best[which], first)
        return best

    return resolve(len(places), search)


def _ranges(home: Cell, count: int, most: int) -> list[tuple[int, int]]:
    """At most ``most`` ranges of the ``count`` cells, with about as many members each."""
    members = np.concatenate([[0], np.cumsum(np.bincount(home, minlength=count))])
    limits = np.searchsorted(members, np.linspace(0, len(home), most + 1))
    limits[0], limits[-1] = 0, count
    return [(int(low), int(high)) for low, high in pairwise(limits) if high > low]


def _looks(cells: Cells, block: Any, threshold: float) -> tuple[Looks, Any]:
    return cells.looks(block, threshold), hints(block, block.shape[1])


def _look(
    blocks: list[Any],
    short: list[Any],
    looks: Looks,
    places: Ranks,
    threshold: float,
    asking: Ranks,
    gone: Flags,
    low: int,
    high: int,
) -> tuple[Ranks, Ranks]:
    """Which of ``asking`` found somebody in the cells low..high-1, and whom."""
    import ray

    quarters = ray.get(short)
    known = None if quarters[0] is None else Blocks(quarters, places)
    first = Buckets(Blocks(ray.get(blocks), places), looks, threshold, known).first(asking, gone, low, high)
    which = np.flatnonzero(first != NOBODY)
    return which, first[which]
