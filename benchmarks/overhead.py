"""What the farm costs on top of its method: images a second of one generating actor against a bare loop.

python benchmarks/overhead.py [--rounds 5] [--shards 24]     (about ten minutes on two cores)

The method is ``translate`` with the engine ``inpaint`` on the embedded model, four evaluations an image: 50 to 100 ms
on one thread of a CPU, as much as a distilled model costs on a GPU, and so short that overhead would show. It is given
its masks and needs no adapter, no inversion and no search. The embedder is ``pixels``.

A round is three runs, in an order that turns from round to round: the method in a plain loop in this process, over
batches made beforehand; the farm with one generating actor; the farm with two. The farm's clock goes from the first
committed shard to the last, so that start-up is out, and its images are those between the two; it also plans, reads,
draws masks, measures, encodes, embeds and writes. All use one thread a process. ``low`` and ``high`` are the extremes
of the rounds.

Bars: median of farm / bare loop at least 0.95; median of two actors / one at least 1.8.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from cluster.flow import Flow
from cluster.progress import Silent
from farm.config import Run
from farm.methods import Request, build_method
from farm.plan import Plan
from farm.prepare import prepare
from farm.stages.sources import Sources
from tests.photos import make_run, make_tree

SIZE_PX, BATCH = 128, 8
METHOD = {"kind": "translate", "engine": "inpaint", "steps": 4, "strength": 0.5, "guidance": 4.0}
LEAST_SHARE, LEAST_GAIN = 0.95, 1.8
Rates = dict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=24, help="of a run, each a batch")
    given = parser.parse_args()
    if given.shards < 3:
        parser.error(f"--shards is {given.shards}; rates go from the first commit to the last, so give at least 3")
    with tempfile.TemporaryDirectory() as folder:
        make_tree(Path(folder) / "plates", train=24, side=SIZE_PX)
        rates = measure(Path(folder), given.rounds, given.shards)
    share = [one / bare for one, bare in zip(rates["one"], rates["bare"], strict=True)]
    gain = [two / one for two, one in zip(rates["two"], rates["one"], strict=True)]
    figures = {f"{name}.rate": _report.figure(found, "images/s") for name, found in rates.items()}
    figures |= {"share_of_bare": _report.figure(share, "1"), "two_of_one": _report.figure(gain, "1")}
    _report.write("overhead", figures, n=given.shards * BATCH)
    for name, figure in figures.items():
        print(f"{name}: {figure['value']} {figure['unit']} ({figure['low']} to {figure['high']})")
    bars = (("share_of_bare", LEAST_SHARE), ("two_of_one", LEAST_GAIN))
    missed = [f"{name} is below {least}" for name, least in bars if figures[name]["value"] < least]
    print(f"FAIL: {', '.join(missed)}" if missed else "PASS")
    return 1 if missed else 0


def measure(folder: Path, rounds: int, shards: int) -> Rates:
    """Images a second of each way, round by round."""
    loop = bare_loop(settings(folder, "bare", 1, shards), shards)
    ways: dict[str, Callable[[int], float]] = {
        "bare": lambda _: loop(),
        "one": lambda number: farm(settings(folder, f"one-{number}", 1, shards)),
        "two": lambda number: farm(settings(folder, f"two-{number}", 2, shards)),
    }
    rates: Rates = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)
        for name in names[number % 3 :] + names[: number % 3]:
            rates[name].append(ways[name](number))
            print(f"round {number + 1}, {name}: {rates[name][-1]:.2f} images/s", flush=True)
    return rates


def settings(folder: Path, name: str, actors: int, shards: int) -> Run:
    """A run of ``shards`` shards of one batch, on two CPUs."""
    return make_run(
        folder / "plates",
        folder / name,
        name=name,
        rows=shards * BATCH,
        size_px=SIZE_PX,
        methods=[METHOD],
        embed={"kind": "pixels"},
        compute={"batch_size": BATCH, "threads": 1},
        cluster={
            "shard_rows": BATCH,
            "num_cpus": 2,
            "generate": {"actors": actors, "cpus": 0.75},
            "embed": {"cpus": 0.25},
            "write": {"cpus": 0.25},
        },
    )


def bare_loop(run: Run, shards: int) -> Callable[[], float]:
    """The method of ``run`` built and warmed up; a call of what comes back gives its images a second."""
    import torch

    torch.set_num_threads(run.compute.threads)
    _, plan = prepare(run)
    method = build_method(run.methods[0], run)
    asked = list(requests(plan, shards))
    method(asked[0])

    def loop() -> float:
        begun = time.perf_counter()
        for request in asked[1:]:  # as many as the farm's clock sees
            method(request)
        return (len(asked) - 1) * BATCH / (time.perf_counter() - begun)

    return loop


def requests(plan: Plan, shards: int) -> Iterator[Request]:
    """The batches that the farm would make of the plan's shards."""
    sources = Sources(plan.run, plan.photos)
    for shard in range(shards):
        rows = [plan.row(number) for number in plan.shard_range(shard)]
        read = [sources.source(row["source_id"]) for row in rows]
        texts: dict[str, Any] = {
            name: tuple(row[name] for row in rows) for name in ("recipe", "prompt", "normal_prompt")
        }
        yield Request(
            source=np.stack([source for source, _ in read]),
            mask=np.stack([sources.mask(row, where) for row, (_, where) in zip(rows, read, strict=True)]),
            seed=np.array([row["seed"] for row in rows], np.int64),
            **texts,
        )


def farm(run: Run) -> float:
    """Images a second of the farm, between its first committed shard and its last."""
    clock = Clock()
    with Flow(run, clock) as flow:
        flow.generate()
    (begun, first), (ended, last) = clock.commits[0], clock.commits[-1]
    return (last - first) / (ended - begun)


class Clock(Silent):
    """Progress that notes when how many rows were committed."""

    def __init__(self) -> None:
        self.commits: list[tuple[float, int]] = []

    def advance(self, finished: int, counts: dict[str, int]) -> None:  # noqa: ARG002
        """Note the rows of ``counts``."""
        self.commits.append((time.perf_counter(), counts["rows"]))


if __name__ == "__main__":
    sys.exit(main())
