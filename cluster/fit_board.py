"""Many fits on one cluster, as a table: which may start now, how far each is, and why one ended. Knows no Ray."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from farm.config import PoolConfig

State = Literal["waiting", "running", "done", "failed", "skipped"]
NOTE = 60  # characters of a reason in the table
_SLACK = 1e-9


class Node(NamedTuple):
    """What one node of the cluster has."""

    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True)
class Pair:
    """One arm of one config: where its ``adapter`` goes, how many photographs it learns from, with which workers."""

    config: str
    category: str
    arm: str
    pool: PoolConfig
    steps: int
    shots: int
    adapter: str


@dataclass
class Row:
    """Where a pair stands. ``loss`` is that of the last checkpoint; ``seconds`` are those of this call."""

    pair: Pair
    state: State = "waiting"
    step: int = 0
    loss: float | None = None
    seconds: float = 0.0
    reason: str = ""


class Board:
    """Every pair of a call in the order given. At most ``at_once`` run together, and never more than nodes hold."""

    def __init__(
        self, pairs: Sequence[Pair], at_once: int | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.rows = {pair: Row(pair) for pair in pairs}
        self._at_once, self._clock = at_once, clock
        self._begun: dict[Pair, float] = {}
        self._named = Counter(f"{pair.category}/{pair.arm}" for pair in pairs)

    def pairs(self, state: State) -> list[Pair]:
        """The pairs in ``state``, in the order given."""
        return [pair for pair, row in self.rows.items() if row.state == state]

    def admit(self, nodes: Sequence[Node]) -> list[Pair]:
        """Start what ``nodes`` hold beside the running pairs; a small pair may pass a large one that must wait."""
        pools, started = [pair.pool for pair in self.pairs("running")], []
        for pair in self.pairs("waiting"):
            if self._at_once is not None and len(pools) >= self._at_once:
                break
            if holds(nodes, [*pools, pair.pool]):
                self.rows[pair].state, self._begun[pair] = "running", self._clock()
                pools.append(pair.pool)
                started.append(pair)
        return started

    def refuse(self, nodes: Sequence[Node]) -> list[Pair]:
        """Fail each waiting pair that ``nodes`` could not hold even alone: it would wait for ever."""
        refused = [pair for pair in self.pairs("waiting") if not holds(nodes, [pair.pool])]
        for pair in refused:
            self.fail(pair, _too_much(self.name(pair), pair.pool, nodes))
        return refused

    def tell(self, pair: Pair, step: int, loss: float | None) -> None:
        """Note the last checkpoint of ``pair``."""
        self.rows[pair].step, self.rows[pair].loss = step, loss

    def skip(self, pair: Pair) -> None:
        """``pair`` was finished before."""
        self.rows[pair].state, self.rows[pair].step = "skipped", pair.steps

    def finish(self, pair: Pair, shots: int) -> None:
        """``pair`` learned to its last step, from ``shots`` photographs that could be read."""
        self._end(pair, "done")
        self.rows[pair].step = pair.steps
        if shots < pair.shots:
            self.rows[pair].reason = f"{pair.shots - shots} of {pair.shots} shots were left out"

    def fail(self, pair: Pair, reason: str) -> None:
        """``pair`` ended without an adapter, and why."""
        self._end(pair, "failed")
        self.rows[pair].reason = reason

    def name(self, pair: Pair) -> str:
        """``category/arm``, with the config where two pairs would have the same name."""
        short = f"{pair.category}/{pair.arm}"
        return short if self._named[short] == 1 else f"{short} ({pair.config})"

    def line(self, pair: Pair) -> str:
        """What a log says when the state of ``pair`` changed."""
        row = self.rows[pair]
        told = {
            "running": f"running on {_asked(pair.pool)}, {pair.steps} steps, {pair.shots} shots",
            "done": f"done in {row.seconds:.1f} s{'' if row.loss is None else f', loss {row.loss:.4f}'}",
            "skipped": "skipped, its adapter is there and fits",
            "failed": f"failed: {row.reason}",
        }
        return f"{self.name(pair)}: {told.get(row.state, row.state)}"

    def counts(self) -> dict[str, int]:
        """How many pairs are in each state that occurs."""
        return dict(sorted(Counter(row.state for row in self.rows.values()).items()))

    def table(self) -> str:
        """All pairs, one a line, below a line of counts: plain text, so that a log reads like a terminal."""
        for pair in self.pairs("running"):
            self.rows[pair].seconds = self._clock() - self._begun[pair]
        counts = ", ".join(f"{count} {state}" for state, count in self.counts().items())
        cells = [["category/arm", "state", "step", "loss", "seconds", "shots", ""], *map(self._cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join([f"{len(self.rows)} pairs: {counts}", *_aligned(cells, widths)])

    def results(self) -> list[dict[str, Any]]:
        """The table for machines, a dict a pair."""
        return [{"name": self.name(pair), **_facts(pair), **_standing(row)} for pair, row in self.rows.items()]

    def _end(self, pair: Pair, state: State) -> None:
        now = self._clock()
        self.rows[pair].state, self.rows[pair].seconds = state, round(now - self._begun.get(pair, now), 3)

    def _cells(self, pair: Pair) -> list[str]:
        row = self.rows[pair]
        loss, note = "-" if row.loss is None else f"{row.loss:.4f}", row.reason.partition("\n")[0]
        note = note if len(note) <= NOTE else f"{note[: NOTE - 3]}..."
        seconds, step = f"{row.seconds:.1f}", f"{row.step}/{pair.steps}"
        return [self.name(pair), row.state, step, loss, seconds, str(pair.shots), note]


def holds(nodes: Sequence[Node], pools: Sequence[PoolConfig]) -> bool:
    """Whether the workers of all ``pools`` find room together, the largest placed first, each on the first that fits.

    Exact for equal workers; for others it may say no where a cleverer order would do, never yes without one.
    """
    free = [list(node) for node in nodes]
    workers = sorted(((_gpu_share(pool.gpus), pool.cpus, pool.actors) for pool in pools), reverse=True)
    for gpus, cpus, actors in workers:
        for _ in range(actors):
            room = next((n for n in free if n[0] >= cpus - _SLACK and n[1] >= gpus - _SLACK), None)
            if room is None:
                return False
            room[0], room[1] = room[0] - cpus, room[1] - gpus
    return True


def _gpu_share(gpus: float) -> float:
    """What a worker takes of a node's GPUs: two that ask for 0.6 each cannot share one, so each takes a whole."""
    return gpus if gpus == 0 or gpus >= 1 else 1 / int(1 / gpus + _SLACK)


def _too_much(name: str, pool: PoolConfig, nodes: Sequence[Node]) -> str:
    there = ", ".join(f"{count} x ({node.cpus:g} CPUs, {node.gpus:g} GPUs)" for node, count in Counter(nodes).items())
    return (
        f"{name} asks for {_asked(pool)}, and the cluster's nodes cannot hold them: {there or 'none'}. "
        "Lower cluster.fit.actors, .cpus or .gpus, or add a node"
    )


def _asked(pool: PoolConfig) -> str:
    gpus = f" and {pool.gpus:g} GPUs" if pool.gpus else ""
    return f"{pool.actors} x {pool.cpus:g} CPUs{gpus}"


def _facts(pair: Pair) -> dict[str, Any]:
    return {name: getattr(pair, name) for name in ("config", "category", "arm", "steps", "shots", "adapter")}


def _standing(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("state", "step", "loss", "seconds", "reason")}


def _aligned(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """Names, states and notes to the left, numbers to the right."""
    for row in cells:
        padded = [
            cell.rjust(width) if 2 <= index <= 5 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()
