"""What a trial does, as a function of (seed, trial): where the run lives, on what cluster, and what hits it when."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STORES = {"local": 0.4, "s3": 0.35, "tmpfs": 0.25}  # how often a trial has each
NODES = (0, 1, 2, 3)  # raylets of the trial's own cluster; 0 = the driver starts its own Ray
MOST_BLOWS = 4
POOLS = ("Generate", "Embed", "Write")
FAULTS = ("errors", "slow", "drop", "refuse")  # of a store behind ``proxy.py``

KINDS: dict[str, str] = {
    "kill_generate": "kill -9 of an actor that generates",
    "kill_embed": "kill -9 of the actor that embeds",
    "kill_write": "kill -9 of the actor that writes",
    "stop_actor": "an actor stands still (SIGSTOP) for some seconds",
    "kill_node": "kill -9 of the raylet of a worker node; a new node comes some seconds later",
    "kill_driver": "kill -9 of the driver, which is started again",
    "term_driver": "SIGTERM to the driver, which is started again",
    "kill_head": "kill -9 of the head: GCS, its raylet, then the driver; cluster and driver are started again",
    "flip_part": "bytes of a committed part are changed",
    "truncate_part": "a committed part loses its end",
    "delete_part": "a committed part is deleted, its marker stays",
    "delete_marker": "a marker is deleted, its part stays",
    "fill_disk": "the disk is full for some seconds",
    "cut_store": "the object store fails, is slow, drops or refuses connections for some seconds",
    "second_driver": "a second driver is started on the same run folder",
}
CORRUPTIONS = ("flip_part", "truncate_part", "delete_part", "delete_marker")
ONLY_ON = {"fill_disk": "tmpfs", "cut_store": "s3"}  # kind → the store it needs; such a store always gets one
TWO_NODES = ("kill_node",)


@dataclass(frozen=True)
class Blow:
    """One thing that goes wrong."""

    kind: str
    at: float  # share of the shards that are committed when it is due
    delay_s: float  # after that
    hold_s: float  # how long it lasts, where it lasts
    pick: float  # in [0, 1): which of the possible victims
    how: str = ""  # the pool of ``stop_actor``, the fault of ``cut_store``

    def __str__(self) -> str:
        return f"{self.kind}{':' * bool(self.how)}{self.how}@{self.at:.2f}"


@dataclass(frozen=True)
class Scenario:
    """One trial; equal (seed, trial, kinds) give equal scenarios."""

    seed: int
    trial: int
    store: str
    nodes: int
    blows: tuple[Blow, ...]

    def __str__(self) -> str:
        return f"{self.store}, {self.nodes or 'own'} raylet(s): {' '.join(map(str, self.blows))}"


def draw(seed: int, trial: int, only: Sequence[str] = ()) -> Scenario:
    """The scenario of ``trial``; ``only`` limits the kinds of its blows. Raises ``ValueError`` for an unknown kind."""
    if unknown := sorted(set(only) - set(KINDS)):
        raise ValueError(f"no such kind of blow: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    kinds = [kind for kind in KINDS if not only or kind in only]
    rng = np.random.default_rng([seed, trial])
    store = _draw_store(rng, kinds)
    fitting = [kind for kind in kinds if ONLY_ON.get(kind, store) == store]
    nodes = int(rng.choice([count for count in NODES if count > 1 or set(fitting) - set(TWO_NODES)]))
    fitting = [kind for kind in fitting if nodes > 1 or kind not in TWO_NODES]
    wanted = [kind for kind in fitting if kind in ONLY_ON]
    count = int(rng.integers(1, MOST_BLOWS + 1))
    wanted += [str(kind) for kind in rng.choice(fitting, count)]
    blows = [_draw_blow(rng, kind) for kind in wanted[:count]]
    return Scenario(seed, trial, store, nodes, tuple(sorted(blows, key=lambda blow: blow.at)))


def _draw_store(rng: np.random.Generator, kinds: Sequence[str]) -> str:
    stores = [store for store in STORES if any(ONLY_ON.get(kind, store) == store for kind in kinds)]
    weights = np.array([STORES[store] for store in stores])
    return str(rng.choice(stores, p=weights / weights.sum()))


def _draw_blow(rng: np.random.Generator, kind: str) -> Blow:
    at = float(np.clip(rng.uniform(-0.05, 1.05), 0, 1))  # 0: while workers start; 1: while the rows are judged
    delay_s, hold_s, pick = rng.uniform(0, 2), rng.uniform(2, 8), rng.uniform()
    how = {"stop_actor": POOLS, "cut_store": FAULTS}.get(kind, ("",))
    return Blow(kind, round(at, 3), round(delay_s, 2), round(hold_s, 2), float(pick), str(rng.choice(how)))
