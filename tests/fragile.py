"""Workers that die or hang at a certain row, as a crash in a driver's library would make them."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster import workers
from farm.methods import Made, Request
from farm.parts import to_batch

KILLER = 5  # the row that kills; with shards of four it is in shard 1


class Dies:
    """A method that kills its process, as a crash in a driver's library does, when a certain row is in its batch."""

    def __init__(self, method: Any, seed: int) -> None:
        self.method, self.seed, self.needs_trajectory = method, seed, method.needs_trajectory

    def __call__(self, request: Request) -> Made:
        if self.seed in request.seed:
            os.kill(os.getpid(), signal.SIGKILL)
        made: Made = self.method(request)
        return made


class Hangs(Dies):
    """Sleeps for ever, the first time only: the folder named by ``seed``'s row keeps the memory of it."""

    def __init__(self, method: Any, seed: int, once: Path) -> None:
        super().__init__(method, seed)
        self.once = once

    def __call__(self, request: Request) -> Made:
        if self.seed in request.seed and not self.once.exists():
            self.once.touch()
            time.sleep(3600)
        made: Made = self.method(request)
        return made


class GenerateDies(workers.Generate):
    def __init__(self, url: str, driver: str) -> None:
        super().__init__(url, driver)
        build, seed = self.stage._method, self.plan.row(KILLER)["seed"]
        self.stage._method = lambda name: Dies(build(name), seed)  # type: ignore[method-assign]


class GenerateHangs(workers.Generate):
    def __init__(self, url: str, driver: str) -> None:
        super().__init__(url, driver)
        build, seed = self.stage._method, self.plan.row(KILLER)["seed"]
        once = self.folder.store.local("hung")
        self.stage._method = lambda name: Hangs(build(name), seed, once)  # type: ignore[method-assign]


class EmbedDies(workers.Embed):
    """Dies at the picture of the row."""

    def __call__(self, table: pa.Table) -> pa.Table:
        columns = to_batch(table.select(["row", "image_png"]))
        bad = columns["image_png"][columns["row"] == KILLER]
        made = self.stage._made

        def fragile(rows: Any) -> Any:
            if len(bad) and bad[0] and bad[0] in rows["image_png"].tolist():
                os.kill(os.getpid(), signal.SIGKILL)
            return made(rows)

        self.stage._made = fragile  # type: ignore[method-assign]
        return super().__call__(table)
