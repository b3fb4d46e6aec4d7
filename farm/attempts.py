"""Attempts at a shard, counted in the run folder: what kills its worker again and again is found, and marked.

``attempts/shard-000017/generate-0003.json`` is written before the third attempt begins, so it survives the worker,
the driver and the cluster. An attempt that ended by itself says so; one that says nothing died. From the second
attempt on the rows in hand are noted before each batch, so that the next attempt knows what to make one by one, and
which row was alone in hand when its worker died. A row that did so ``MOST_DEATHS`` times is poisoned: it is a row with
that reason, and is not tried again. When the shard is committed its attempts are taken away; the marker has their
number.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from farm.errors import RunError
from farm.ids import shard_name
from farm.rows import POISONED
from farm.store import Store, json_bytes

MOST_DEATHS = 3  # of workers with one row alone in hand
MOST_STARTS = 8  # of workers of one driver that died before any row was in hand
STOPPED = "attempts/stopped.json"


@dataclass(frozen=True)
class Blame:
    """What earlier attempts say: rows never to try again, and rows to make alone."""

    poisoned: frozenset[int] = frozenset()
    alone: frozenset[int] = frozenset()
    dead: int = 0


@dataclass
class Attempt:
    """One attempt at a stage of a shard; ``hold`` before each batch, ``end`` when it ended by itself."""

    store: Store
    name: str
    number: int
    blame: Blame
    note: dict[str, Any] = field(default_factory=dict)

    def hold(self, rows: Sequence[int]) -> None:
        """These rows are in hand now. Written from the second attempt on: the first is for speed."""
        if self.blame.dead:
            self._write({"rows": [int(row) for row in rows]})

    def end(self, how: str) -> None:
        """The attempt is over without a death: ``how`` in a word."""
        self._write({"rows": [], "ended": how})

    def _write(self, change: dict[str, Any]) -> None:
        self.note |= change
        self.store.write(self.name, json_bytes(self.note))


def begin(store: Store, shard: int, stage: str, worker: str, driver: str) -> Attempt:
    """Note a new attempt at ``stage`` (``generate`` or ``embed``) of ``shard``, and what those before it say.

    ``driver`` names the call that asks for it. Raises ``RunError`` where ``MOST_STARTS`` workers of this driver died
    before any row was in hand: then it is not a row's fault, and trying on would not end.
    """
    history = list(_history(store, shard, stage))
    stopped = _stopped(store)
    blame = blamed([note for note in history if note["driver"] not in stopped])
    starts = sum(not (note["rows"] or note["ended"]) for note in history if note["driver"] == driver)
    if starts >= MOST_STARTS:
        raise RunError(
            f"{store.root}: shard {shard}: {starts} workers died in '{stage}' before they had a row in hand, the last "
            f"of them {history[-1]['worker']}. A model that does not fit the memory does so: look at the worker's log, "
            f"ask for more with cluster.{stage}.memory_gib, or make compute.batch_size smaller; then run again"
        )
    note = {"worker": worker, "driver": driver, "begun": datetime.now(UTC).isoformat(), "rows": [], "ended": ""}
    number = max((note["number"] for note in history), default=0)
    while True:
        number += 1
        name = f"{_folder(shard)}/{stage}-{number:04d}.json"
        if store.create(name, json_bytes({"number": number, **note})):
            return Attempt(store, name, number, blame, {"number": number, **note})


def blamed(history: Iterable[dict[str, Any]]) -> Blame:
    """What the dead attempts among ``history`` say of the rows that they had in hand."""
    dead = [note for note in history if not note["ended"]]
    deaths = Counter(note["rows"][0] for note in dead if len(note["rows"]) == 1)
    suspects = frozenset(row for note in dead for row in note["rows"])
    poisoned = frozenset(row for row, count in deaths.items() if count >= MOST_DEATHS)
    return Blame(poisoned, suspects - poisoned, len(dead))


def batches(rows: Sequence[int], size: int, alone: Collection[int]) -> list[list[int]]:
    """``rows`` in batches of ``size``, in order; those of ``alone`` each in a batch of its own."""
    parts: list[list[int]] = []
    for row in rows:
        apart = row in alone
        if not parts or apart or len(parts[-1]) == size or parts[-1][-1] in alone:
            parts.append([])
        parts[-1].append(row)
    return parts


def taken(store: Store, shard: int) -> dict[str, int]:
    """How many attempts each stage of ``shard`` took so far."""
    found = Counter(name.rpartition("/")[2].partition("-")[0] for name in store.names(_folder(shard)))
    return dict(sorted(found.items()))


def clear(store: Store, shard: int) -> None:
    """Take the attempts at ``shard`` away: it is committed."""
    for name in store.names(_folder(shard)):
        store.remove(name)


def counts(store: Store) -> dict[int, int]:
    """Shard → its attempts, of the shards that are not committed."""
    found = Counter(name.split("/")[1] for name in store.names("attempts") if name.count("/") == 2)
    return {int(name.removeprefix("shard-")): count for name, count in sorted(found.items())}


def stop(store: Store, driver: str) -> None:
    """Note that ``driver`` ended by its own will: its attempts died with it, and no row is to blame."""
    store.write(STOPPED, json_bytes(sorted({*_stopped(store), driver})))


def reason(count: int = MOST_DEATHS) -> str:
    """The reason of a poisoned row."""
    return f"{POISONED}: {count} workers died while they had this row alone in hand"


def _history(store: Store, shard: int, stage: str) -> Iterable[dict[str, Any]]:
    for name in store.names(_folder(shard)):
        if name.rpartition("/")[2].startswith(f"{stage}-"):
            yield json.loads(store.read(name))


def _stopped(store: Store) -> set[str]:
    return set(json.loads(store.read(STOPPED))) if store.exists(STOPPED) else set()


def _folder(shard: int) -> str:
    return f"attempts/{shard_name(shard)}"
