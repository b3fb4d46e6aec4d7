"""Rounds of an adaptive budget in a run folder: what each was decided to be, and deciding the next.

``budget/round-000002.json`` holds the shares of round 2 and the tallies that they rest on. It is a function of what the
rounds before it committed, so it may be lost and decided again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from farm.budget import Arm, Tally, next_shares
from farm.config import Run
from farm.datasets.photo import PhotoSet
from farm.errors import RunError
from farm.parts import to_batch
from farm.plan import Plan, RoundShares
from farm.rows import Batch
from farm.run_folder import RunFolder

Settled = Callable[[Sequence[int]], Batch]  # shards → the verdicts on all their rows, as if there were no others


def open_plan(folder: RunFolder, run: Run, photos: PhotoSet, model: str) -> Plan:
    """The plan of the run in ``folder``, with the rounds that are decided."""
    return Plan(run, photos, model, decided(folder, run))


def decided(folder: RunFolder, run: Run) -> dict[int, RoundShares]:
    """Round → its shares, of all rounds that are decided; nothing for a uniform budget."""
    if run.budget.kind == "uniform":
        return {}
    names = [name for name in folder.store.names("budget") if name.endswith(".json")]
    return {int(told["round"]): told["shares"] for told in map(folder.read_json, names)}


def is_decided(folder: RunFolder, number: int) -> bool:
    """Whether the shares of round ``number`` are known; those of the first are the config's."""
    return number == 0 or folder.store.exists(_name(number))


def decide(folder: RunFolder, plan: Plan, number: int, settled: Settled) -> RoundShares:
    """Decide round ``number`` from the verdicts on all rounds before it, and commit it.

    Raises ``RunError`` where a shard of those rounds is missing.
    """
    before = [shard for earlier in range(number) for shard in plan.round_shards(earlier)]
    missing = sorted(set(before) - folder.done_shards())
    if missing:
        raise RunError(
            f"{folder.store.root}: round {number} of the budget cannot be decided: shard {missing[0]} of an earlier "
            f"round is missing ({len(missing)} such); make it first"
        )
    verdicts = settled(before)
    kept = dict(zip(verdicts["row"].tolist(), verdicts["keep"].tolist(), strict=True))
    tallies = _tallies(folder, plan, before, kept)
    budget = plan.run.budget
    shares = {
        defect: next_shares(budget, tallies, arms, defect, plan.run.seed, number)
        for defect, arms in plan.contenders.items()
    }
    lines: list[dict[str, Any]] = [
        {"arm": arm, "defect": defect, "attempts": tally.attempts, "kept": tally.kept, "cost": tally.cost}
        for (arm, defect), tally in sorted(tallies.items())
    ]
    folder.write_json(_name(number), {"round": number, "shares": shares, "tallies": lines})
    return shares


def _tallies(folder: RunFolder, plan: Plan, shards: list[int], kept: dict[int, bool]) -> dict[Arm, Tally]:
    tallies: dict[Arm, Tally] = {}
    for shard in shards:
        columns = to_batch(folder.facts(shard).select(["row", "evaluations"]))
        for row, evaluations in zip(columns["row"].tolist(), columns["evaluations"].astype(np.int64), strict=True):
            arm = plan.asked(row)
            one = Tally(1, int(kept[row]), plan.run.budget.flat_cost + float(evaluations))
            tallies[arm] = tallies.get(arm, Tally()).plus(one)
    return tallies


def _name(number: int) -> str:
    return f"budget/round-{number:06d}.json"
