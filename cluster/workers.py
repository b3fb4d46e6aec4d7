"""Ray Data actors: each builds its stage from the run folder's URL, and turns Arrow blocks into Arrow blocks.

A block is a whole shard from end to end (or one line that names a shard, at both ends), so a stage never sees half of
one, and pictures never pass through the driver.
"""

import os
import socket
import time
import traceback
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from farm import attempts
from farm.parts import to_batch, to_table
from farm.rounds import open_plan
from farm.rows import EMBEDDINGS, ENCODED
from farm.run_folder import RunFolder
from farm.source_index import read_index
from farm.stages.hands import Watched
from farm.stages.memory import DeviceLostError, wait_for_memory

GENERATED_COLUMNS = tuple(column for column in ENCODED if column not in EMBEDDINGS)
DEVICE_LOST = 70  # the exit code


class _Worker:
    """What every worker opens: the folder, its config, its photographs and its plan."""

    def __init__(self, url: str) -> None:
        self.folder = RunFolder(url)
        self.run = self.folder.run().model_copy(update={"output": url})  # absolute, wherever this worker is
        self.photos = read_index(self.folder)
        self.model = self.folder.fingerprints()["model"]
        self.plan = open_plan(self.folder, self.run, self.photos, self.model)


class _Trying(_Worker):
    """A worker whose attempts at a shard are counted, so that what kills it is found."""

    stage_name = ""

    def __init__(self, url: str, driver: str) -> None:
        super().__init__(url)
        self.driver = driver
        self.stall_s = float(self.run.cluster.stall_timeout_s)

    def attempt(self, shard: int) -> "_Hands":
        """Wait for memory, then begin an attempt at ``shard``; the process ends if it hangs or its device is lost."""
        wait_for_memory(self.stall_s)
        name = f"{socket.gethostname()}:{os.getpid()}"
        begun = attempts.begin(self.folder.store, shard, self.stage_name, name, self.driver)
        return _Hands(begun, self.stall_s)


class _Hands(Watched):
    """A device that is lost takes its process along: Ray starts another, and the attempt counts as a death."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        if isinstance(error, DeviceLostError):
            traceback.print_exception(error)
            os._exit(DEVICE_LOST)


class Invert(_Worker):
    """Block numbers of an arm's sources → committed trajectories."""

    def __init__(self, url: str, arm: str) -> None:
        super().__init__(url)
        from farm.diffusion.backbone import load_backbone
        from farm.diffusion.inversion import Inverter
        from farm.stages.invert import InversionBlocks
        from farm.stages.invert import Invert as Stage
        from farm.stages.sources import Sources

        settings: Any = dict(zip(self.run.arm_names(), self.run.methods, strict=True))[arm]
        backbone = load_backbone(self.run.model, self.run.compute)
        inverter = Inverter(backbone, settings.steps, settings.fixed_point, self.run.compute.batch_size)
        sources = Sources(self.run, self.photos)
        self.stage = Stage(self.run, lambda name: sources.source(name)[0], inverter)
        self.blocks = InversionBlocks(self.folder, self.plan, arm, self.model)
        self.inverter = inverter

    def __call__(self, table: pa.Table) -> pa.Table:
        """One line a block in; one line a block out: how many were inverted and how many failed."""
        lines = []
        for block in table["block"].to_pylist():
            begun, before = time.perf_counter(), self.inverter.spent
            made, failed = self.stage.block(self.blocks.photos(block))
            facts = {"evaluations": self.inverter.spent - before, "seconds": time.perf_counter() - begun}
            self.blocks.write(block, made, failed, facts)
            lines.append({"block": block, "made": len(made), "failed": len(failed)})
        return pa.Table.from_pylist(lines)


class Generate(_Trying):
    """One line that names a shard → all rows of that shard, pictures as PNG."""

    stage_name = "generate"

    def __init__(self, url: str, driver: str) -> None:
        super().__init__(url, driver)
        from farm.fitting.adapters import adapter_sums, hold_adapters
        from farm.prepare import settled_adapters
        from farm.stages.generate import Generate as Stage
        from farm.stages.invert import InversionBlocks, needs_inversion

        arms = dict(zip(self.run.arm_names(), self.run.methods, strict=True))
        blocks = {
            name: InversionBlocks(self.folder, self.plan, name, self.model)
            for name, method in arms.items()
            if needs_inversion(method)
        }
        settled = settled_adapters(self.folder.fingerprints())
        self.stage = Stage(
            self.run,
            self.photos,
            self.plan,
            lambda arm, photo: blocks[arm].trajectory(photo),
            built=lambda: hold_adapters(self.folder.store.root, settled, adapter_sums(self.run)),
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        """(1 row: shard) → rows of the shard with ``shard`` and ``costs`` (JSON) beside them."""
        shard = int(table["shard"][0].as_py())
        with self.attempt(shard) as hands:
            batch, costs = self.stage.shard(shard, hands)
        made = to_table(batch, GENERATED_COLUMNS)
        made = made.append_column("shard", pa.array(np.full(made.num_rows, shard, dtype=np.int64)))
        methods = [costs[name]["seconds"] / costs[name]["rows"] for name in batch["method"]]
        return made.append_column("generate_s", pa.array(np.asarray(methods, dtype=np.float64)))


class Embed(_Trying):
    """Rows with PNG images → the same rows with unit vectors."""

    stage_name = "embed"

    def __init__(self, url: str, driver: str) -> None:
        super().__init__(url, driver)
        from farm.embedders import load_embedder
        from farm.stages.embed import CHANGES, TAKES
        from farm.stages.embed import Embed as Stage

        self.takes, self.changes = list(TAKES), CHANGES
        self.stage = Stage(load_embedder(self.run.embed, self.run.compute), self.run.embed)

    def __call__(self, table: pa.Table) -> pa.Table:
        """A shard's rows in, with ``rows.EMBEDDINGS`` and ``embed_s`` added."""
        begun = time.perf_counter()
        columns = to_batch(table.select(self.takes))
        with self.attempt(int(table["shard"][0].as_py())) as hands:
            made = to_table(self.stage.rows(columns, self.run.compute.batch_size, hands), EMBEDDINGS)
        for name in self.changes if hands.blame.poisoned else ():
            table = table.set_column(table.column_names.index(name), name, pa.array(columns[name].tolist()))
        for name in made.column_names:
            table = table.append_column(name, made[name])
        seconds = (time.perf_counter() - begun) / max(1, table.num_rows)
        return table.append_column("embed_s", pa.array(np.full(table.num_rows, seconds)))


class Write(_Worker):
    """A shard's rows → its committed part and marker; one line of counts comes out."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from farm.stages.write import Write as Stage

        self.stage = Stage(self.folder, self.plan)

    def __call__(self, table: pa.Table) -> pa.Table:
        """All rows of one shard in, one line out."""
        batch = to_batch(table)
        (shard,) = set(batch.pop("shard").tolist())
        generate_s, embed_s = batch.pop("generate_s"), batch.pop("embed_s")
        methods = {
            str(name): {"rows": int(chosen.sum()), "seconds": round(float(generate_s[chosen].sum()), 6)}
            for name in sorted(set(batch["method"]))
            for chosen in [batch["method"] == name]
        }
        seconds = {"generate_s": round(float(generate_s.sum()), 6), "embed_s": round(float(embed_s.sum()), 6)}
        counts = self.stage.commit(shard, batch, {**seconds, "by_method": methods})
        return pa.Table.from_pylist([counts])


class EmbedPhotos(_Worker):
    """Ranges of the photographs → committed blocks of their unit vectors."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from farm.embedders import load_embedder
        from farm.stages.photo_vectors import PhotoVectors

        self.vectors = PhotoVectors(self.folder, self.photos)
        self.embedder = load_embedder(self.run.embed, self.run.compute)

    def __call__(self, table: pa.Table) -> pa.Table:
        """One line a block in, one line a block out."""
        counts = [self.vectors.embed(block, self.run, self.embedder) for block in table["block"].to_pylist()]
        return pa.Table.from_pylist(counts)


class Judge(_Worker):
    """Shard names → committed tentative verdicts, from stored columns alone; no torch is imported."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from farm.stages.tentative import Tentative

        self.tentative = Tentative(self.folder)
        self.stage = self.tentative.judge(self.run, self.photos)

    def __call__(self, table: pa.Table) -> pa.Table:
        """One line that names a shard → one line with the counts of its verdicts."""
        return pa.Table.from_pylist([self.tentative.write(shard, self.stage) for shard in table["shard"].to_pylist()])
