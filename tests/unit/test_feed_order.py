"""The order in which training images reach the workers: planned, and checked on arrival."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.feed import _SCHEMA, Chunk, chunks, read
from farm.config import Run, parse
from farm.detector.two_stage import rank_slots, stage_batch

STEPS, BATCH, SIZE = 37, 4, 32


def make_settings(workers: int, batch_size: int = BATCH, size_px: int = SIZE) -> Run:
    return parse(
        {
            "name": "order",
            "output": "nowhere",
            "rows": 1,
            "size_px": size_px,
            "data": {"kind": "textile", "category": "cloth"},
            "prompts": {"normal": "cloth", "defects": [{"name": "hole", "prompt": "hole"}]},
            "methods": [{"kind": "rules"}],
            "train": {"stage1": {"steps": STEPS, "batch_size": batch_size}},
            "cluster": {"train": {"actors": workers}},
        },
        "tests",
    )


def rows(run: Run, chunk: Chunk) -> pa.Table:
    """What a maker gives for ``chunk``, with the step as the grey of all pixels."""
    slots = rank_slots(BATCH, chunk.rank, chunk.world)
    lines = []
    for step in range(chunk.first, chunk.first + chunk.steps):
        pixels = np.full((len(slots), SIZE, SIZE, 4), step, np.uint8)
        draws = stage_batch(run.train, "stage1", step, slots).digest()
        image, label = pixels[..., :3].tobytes(), pixels[..., 3].tobytes()
        lines.append({"step": step, "rank": chunk.rank, "draws": draws, "image": image, "label": label, "source": None})
    return pa.Table.from_pylist(lines, schema=_SCHEMA)


class Shard:
    """A dataset shard of Ray Train that gives these tables."""

    def __init__(self, tables: list[pa.Table]) -> None:
        self.tables = tables

    def iter_batches(self, **_: Any) -> Iterator[pa.Table]:
        return iter(self.tables)


def split(run: Run, first: int, world: int) -> list[Shard]:
    """Block i to rank i mod W, as Ray's OutputSplitter gives blocks of equal rows."""
    tables = [rows(run, chunk) for chunk in chunks(run, "stage1", first)]
    return [Shard(tables[rank::world]) for rank in range(world)]


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("first", [0, 21, STEPS])
def test_every_rank_gets_its_part_of_every_step_once(world: int, first: int) -> None:
    run = make_settings(world)
    for rank, shard in enumerate(split(run, first, world)):
        found = list(read(run, "stage1", shard, first, rank, world))
        assert [int(image[0, 0, 0, 0]) for image, _, _ in found] == list(range(first, STEPS))
        assert all(image.shape == (BATCH // world, SIZE, SIZE, 3) for image, _, _ in found)
        assert all(label.shape == (BATCH // world, SIZE, SIZE) for _, label, _ in found)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_blocks_of_one_chunk_have_equal_rows(world: int) -> None:
    found = list(chunks(make_settings(world), "stage1", 5))
    for start in range(0, len(found), world):
        group = found[start : start + world]
        assert [chunk.rank for chunk in group] == list(range(world))
        assert len({(chunk.first, chunk.steps) for chunk in group}) == 1
    assert sum(chunk.steps for chunk in found) == world * (STEPS - 5)


def test_large_images_come_in_short_chunks() -> None:
    assert max(chunk.steps for chunk in chunks(make_settings(1, 64, 1024), "stage1", 0)) == 1
    assert max(chunk.steps for chunk in chunks(make_settings(1), "stage1", 0)) == 16


def test_rows_of_another_rank_are_refused() -> None:
    run = make_settings(2)
    with pytest.raises(RuntimeError, match=r"rank 0 of 2 wanted \(0, 0, '\w+'\) .* was given \(0, 1, '\w+'\)"):
        list(read(run, "stage1", split(run, 0, 2)[1], 0, 0, 2))


def test_rows_of_another_step_are_refused() -> None:
    run = make_settings(1)
    with pytest.raises(RuntimeError, match=r"wanted \(3, 0, '\w+'\) .* was given \(0, 0, '\w+'\)"):
        list(read(run, "stage1", split(run, 0, 1)[0], 3, 0, 1))


def test_rows_drawn_from_another_seed_are_refused() -> None:
    run = make_settings(1)
    other = run.model_copy(update={"train": run.train.model_copy(update={"seed": 5})})
    with pytest.raises(RuntimeError, match="rank 0 of 1 wanted"):
        list(read(run, "stage1", split(other, 0, 1)[0], 0, 0, 1))


def test_a_shard_that_ends_early_is_an_error() -> None:
    run = make_settings(1)
    short = Shard(split(run, 0, 1)[0].tables[:-1])
    with pytest.raises(RuntimeError, match="was given None"):
        list(read(run, "stage1", short, 0, 0, 1))


def test_sources_arrive_where_the_detector_reconstructs() -> None:
    run = make_settings(1)
    table = rows(run, next(chunks(run, "stage1", 0)))
    sources = pa.array([bytes([7]) * (BATCH * SIZE * SIZE * 3)] * len(table), type=pa.large_binary())
    table = table.set_column(table.column_names.index("source"), "source", sources)
    found = next(read(run, "stage1", Shard([table]), 0, 0, 1))
    assert found.source is not None
    assert found.source.shape == (BATCH, SIZE, SIZE, 3)
    assert (found.source == 7).all()
    assert next(read(run, "stage1", split(run, 0, 1)[0], 0, 0, 1)).source is None
