"""Training images as a Ray Dataset: made on CPU actors, handed to the training workers, never on disk.

The dataset has one block for each (chunk of consecutive steps, rank), in the order chunk 0 rank 0, chunk 0 rank 1,
..., chunk 1 rank 0, ..., and in it one row for each step: that rank's images. Ray's OutputSplitter (2.60) gives each
block whole to the rank with the fewest rows so far, the lowest rank first, and with ``equal=True`` holds back as many
blocks as there are ranks before it gives the first; the blocks of one chunk have equal rows, so under
``preserve_order`` and without locality hints block i goes to rank i mod W. ``read`` checks step, rank and draws of
every row all the same and raises if this ever changes.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from farm.config import Run
from farm.detector.feed import Examples, Feed
from farm.detector.materials import Materials, stage_materials
from farm.detector.two_stage import Stage, rank_slots, stage_batch, stage_config
from farm.run_folder import RunFolder

BLOCK_BYTES = 4 * 2**20  # a block is about this large, so that the first step does not wait for many others
BLOCK_STEPS = 16


@dataclass(frozen=True)
class Chunk:
    """The consecutive steps of one rank that one block holds."""

    first: int
    steps: int
    rank: int
    world: int


class Stream:
    """The dataset of a stage's remaining steps. Ray Train calls it whenever it starts the group of workers."""

    def __init__(self, run: Run, stage: Stage, materials: Any, steps_done: Callable[[], int]) -> None:
        self.run, self.stage, self._materials, self._steps_done = run, stage, materials, steps_done

    def __call__(self) -> Any:
        """A lazy Dataset whose source needs no task: ``from_items`` makes its blocks in this process.

        (``from_arrow`` starts a task of one CPU a table, and waits for ever where workers and makers leave less.)
        """
        import ray.data

        pool = self.run.cluster.rules
        lines = [asdict(chunk) for chunk in chunks(self.run, self.stage, self._steps_done())]
        context = ray.data.DataContext.get_current()  # of Train's controller, which has not the driver's options
        context.target_max_block_size = 2**31 - 1  # a chunk is one block, however large
        context.enable_progress_bars = context.print_on_execution_start = False
        return ray.data.from_items(lines, override_num_blocks=len(lines)).map_batches(
            Maker,
            batch_format="pyarrow",
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=pool.actors),
            fn_constructor_kwargs={"run": self.run.model_dump_json(), "stage": self.stage, "box": [self._materials]},
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            memory=pool.memory_gib * 2**30 or None,
            label_selector=pool.label_selector,
        )


class Maker:
    """Ray Data actor: one chunk in, its rows out. ``box`` holds the reference of the shared ``Materials``."""

    def __init__(self, run: str, stage: Stage, box: list[Any]) -> None:
        import ray

        self.run, self.stage = Run.model_validate_json(run), stage
        self.feed = Feed(self.run, ray.get(box[0]))

    def __call__(self, table: pa.Table) -> pa.Table:
        """One row a step: step, rank, name of the draws, and the pixels of ``Examples`` as raw bytes."""
        chunk = Chunk(**table.to_pylist()[0])
        slots = rank_slots(stage_config(self.run.train, self.stage).batch_size, chunk.rank, chunk.world)
        rows = []
        for step in range(chunk.first, chunk.first + chunk.steps):
            draws = stage_batch(self.run.train, self.stage, step, slots)
            found = self.feed(draws)._asdict().items()
            pixels = {name: None if part is None else part.tobytes() for name, part in found}
            rows.append({"step": step, "rank": chunk.rank, "draws": draws.digest(), **pixels})
        return pa.Table.from_pylist(rows, schema=_SCHEMA)


_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("rank", pa.int64()),
        ("draws", pa.string()),
        ("image", pa.large_binary()),
        ("label", pa.large_binary()),
        ("source", pa.large_binary()),  # null where the detector does not reconstruct
    ]
)


def chunks(run: Run, stage: Stage, first: int) -> Iterator[Chunk]:
    """All steps from ``first`` on, chunk by chunk and, within a chunk, rank by rank."""
    config, world = stage_config(run.train, stage), run.cluster.train.actors
    row_bytes = (7 if run.train.detector.reconstructs else 4) * run.size_px**2 * config.batch_size // world
    length = max(1, min(BLOCK_STEPS, BLOCK_BYTES // max(row_bytes, 1)))
    for start in range(first, config.steps, length):
        for rank in range(world):
            yield Chunk(start, min(length, config.steps - start), rank, world)


def load_materials(run: str, url: str, stage: Stage) -> tuple[Materials, int]:
    """What the makers need of the run in ``url``, and how many normals there are. A Ray task."""
    materials = stage_materials(Run.model_validate_json(run), RunFolder(url), stage)
    return materials, len(materials.normals)


def read(run: Run, stage: Stage, shard: Any, first: int, rank: int, world: int) -> Iterator[Examples]:
    """This rank's images of each step from ``first`` on; raises where another row arrives."""
    config = stage_config(run.train, stage)
    slots = rank_slots(config.batch_size, rank, world)
    shape = (len(slots), run.size_px, run.size_px)
    shapes = {"image": (*shape, 3), "label": shape, "source": (*shape, 3)}
    rows = (row for table in shard.iter_batches(batch_size=None, batch_format="pyarrow") for row in _rows(table))
    for step in range(first, config.steps):
        row = next(rows, None)
        wanted = (step, rank, stage_batch(run.train, stage, step, slots).digest())
        found = row and (row["step"].as_py(), row["rank"].as_py(), row["draws"].as_py())
        if row is None or found != wanted:
            raise RuntimeError(f"rank {rank} of {world} wanted {wanted} (step, rank, draws) and was given {found}")
        yield Examples(**{name: _pixels(row[name], shapes[name]) for name in Examples._fields})


def _pixels(value: Any, shape: tuple[int, ...]) -> Any:
    """The array behind a binary scalar, not copied; None where it is null."""
    return np.frombuffer(value.as_buffer(), dtype=np.uint8).reshape(shape) if value.is_valid else None


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for index in range(table.num_rows):
        yield {name: table[name][index] for name in table.column_names}
