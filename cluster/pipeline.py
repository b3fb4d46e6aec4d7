"""Phases → Ray Data. Each phase is one Dataset execution of at most three operators over what is still missing.

The sources of every Dataset are short lists of shard or block numbers, so there is no read task, and rows that are
done are never planned again. Pools have a fixed size, or follow the cluster between two; an actor that dies is
replaced, and its shard made again under the same name.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from cluster import workers
from cluster.causes import plain
from cluster.progress import Report
from farm.config import PoolConfig


def add(dataset: Any, worker: type, pool: PoolConfig, most: int, **arguments: Any) -> Any:
    """One ``map_batches`` of ``worker``, block by block, on a pool that is no larger than the ``most`` blocks."""
    return dataset.map_batches(
        worker,
        batch_format="pyarrow",
        batch_size=None,
        compute=_strategy(pool, most),
        fn_constructor_kwargs=arguments,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
        memory=pool.memory_gib * 2**30 or None,
        label_selector=pool.label_selector,
    )


def _strategy(pool: PoolConfig, most: int) -> Any:
    import ray.data

    least, largest = min(pool.actors, most), min(pool.max_actors or pool.actors, most)
    if least == largest:
        return ray.data.ActorPoolStrategy(size=least)
    return ray.data.ActorPoolStrategy(min_size=least, max_size=largest, initial_size=least)


def units(name: str, numbers: Sequence[int]) -> Any:
    """A Dataset with one block of one line for each number. No task runs for it (``from_arrow`` would ask a CPU)."""
    import ray.data

    return ray.data.from_items([{name: number} for number in numbers], override_num_blocks=len(numbers))


def run_units(dataset: Any, report: Report | None) -> dict[str, int]:
    """Execute; add up the counts of the lines that come out, reporting as they come."""
    totals: dict[str, int] = {}
    finished = 0
    for table in _tables(dataset):
        for line in table.to_pylist():
            finished += 1
            for key, value in line.items():
                if key not in ("shard", "block"):
                    totals[key] = totals.get(key, 0) + int(value)
        if report is not None:
            report(finished, totals)
    return totals


def invert(run: Any, url: str, arm: str, blocks: Sequence[int], report: Report | None = None) -> dict[str, int]:
    """Invert the sources of ``blocks`` of ``arm``."""
    dataset = add(units("block", blocks), workers.Invert, run.cluster.invert, len(blocks), url=url, arm=arm)
    return run_units(dataset, report)


def generate(run: Any, url: str, shards: Sequence[int], driver: str, report: Report | None = None) -> dict[str, int]:
    """Generate, embed and write ``shards``, streaming; attempts are counted under ``driver``'s name."""
    tried = {"url": url, "driver": driver}
    dataset = add(units("shard", shards), workers.Generate, run.cluster.generate, len(shards), **tried)
    dataset = add(dataset, workers.Embed, run.cluster.embed, len(shards), **tried)
    dataset = add(dataset, workers.Write, run.cluster.write, len(shards), url=url)
    return run_units(dataset, report)


def embed_photos(run: Any, url: str, blocks: Sequence[int], report: Report | None = None) -> dict[str, int]:
    """Embed the photographs of ``blocks``."""
    return run_units(add(units("block", blocks), workers.EmbedPhotos, run.cluster.embed, len(blocks), url=url), report)


def judge(run: Any, url: str, shards: Sequence[int], report: Report | None = None) -> dict[str, int]:
    """Write the tentative verdicts on every row of ``shards``."""
    return run_units(add(units("shard", shards), workers.Judge, run.cluster.judge, len(shards), url=url), report)


def _tables(dataset: Any) -> Iterator[pa.Table]:
    with plain():
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
