"""What so many kept images will take, from a short pilot on the user's own cluster: hours, bytes and money.

Everything is a ratio to kept images, measured on the pilot's committed shards; the interval is a bootstrap over shards,
which are what a run repeats. It says nothing of what a pilot cannot show: near-duplicates become more frequent as a set
grows, so the forecast is told together with how far the last one was off.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.config import Run
from farm.errors import RunError
from farm.ids import generator
from farm.ledger import HOUR_S, money
from farm.parts import to_batch
from farm.run_folder import RunFolder

NAME = "forecast.json"
GENERATING = "generate"  # how the phases begin that make images, of one round or of several
LEAST_SHARDS, LEAST_KEPT = 3, 10
DRAWS = 1000
RATES = ("attempts", "device_s", "embed_s", "bytes", "money")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """All three times ``factor``."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Forecast:
    """What ``target`` kept images take. ``per_kept`` has ``RATES``; hours are those of the config's own pools."""

    target: int
    shards: int  # of the pilot
    kept: int
    per_kept: dict[str, Interval]
    workers: int
    gpus: float
    hours: Interval
    currency: str

    def total(self, name: str) -> Interval:
        """One of ``RATES`` for all of the target."""
        return self.per_kept[name].times(self.target)


def forecast(run: Run, pilot: RunFolder, target: int) -> Forecast:
    """What ``target`` kept images of ``run`` take, going by the judged run folder ``pilot``.

    Raises ``RunError`` where the pilot is too short to say anything.
    """
    shards = _by_shard(pilot, run)
    kept = shards["kept"]
    if len(kept) < LEAST_SHARDS or kept.sum() < LEAST_KEPT:
        raise RunError(
            f"{pilot.store.root}: {len(kept)} shards with {int(kept.sum())} kept images are too short a pilot; "
            f"run one with at least {LEAST_SHARDS} shards and {LEAST_KEPT} kept images"
        )
    per_kept = {name: _ratio(shards[name], kept) for name in RATES}
    pool = run.cluster.generate
    workers = pool.max_actors or pool.actors
    busy = _busy_share(pilot, float(shards["device_s"].sum()))
    hours = per_kept["device_s"].times(target / (workers * busy) / HOUR_S)
    return Forecast(
        target, len(kept), int(kept.sum()), per_kept, workers, workers * pool.gpus, hours, run.prices.currency
    )


def keep(pilot: RunFolder, made: Forecast) -> None:
    """Remember the forecast beside its pilot, so that it can be held against what came of it."""
    pilot.write_json(NAME, asdict(made))


def last_error(pilot: RunFolder, run: Run) -> dict[str, float] | None:
    """How far the last forecast of ``pilot`` was off, as shares of what ``run`` then really took for a kept image.

    0.1 = it took a tenth more than was forecast. None where there is no forecast yet, or the run is not judged.
    """
    folder = RunFolder(run.output)
    if folder.store.root == pilot.store.root or not pilot.store.exists(NAME):
        return None
    if not folder.store.exists("run.yaml") or not folder.store.exists(folder.verdict_name("verdicts.parquet")):
        return None
    before = pilot.read_json(NAME)["per_kept"]
    shards = _by_shard(folder, run)
    kept = float(shards["kept"].sum())
    if not kept:
        return None
    return {
        name: float(shards[name].sum()) / kept / before[name]["value"] - 1 for name in RATES if before[name]["value"]
    }


def _by_shard(folder: RunFolder, run: Run) -> dict[str, Floats]:
    """For each committed shard the rows that are kept, and ``RATES`` of it."""
    verdicts = to_batch(folder.verdicts())
    size = folder.run().cluster.shard_rows
    kept = np.bincount(verdicts["row"].astype(np.int64) // size, weights=verdicts["keep"])
    lines = [_line(marker, run) for marker in folder.markers().values()]
    columns = {name: np.array([line[name] for line in lines], np.float64) for name in RATES}
    return {"kept": kept[[int(line["shard"]) for line in lines]].astype(np.float64), **columns}


def _line(marker: Mapping[str, Any], run: Run) -> dict[str, float]:
    costs = marker["costs"]
    device_s, embed_s = float(costs["generate_s"]), float(costs["embed_s"])
    return {
        "shard": float(marker["shard"]),
        "attempts": float(marker["rows"]),
        "device_s": device_s,
        "embed_s": embed_s,
        "bytes": float(marker["bytes"]),
        "money": money(device_s, embed_s, run.prices),
    }


def _ratio(spent: Floats, kept: Floats) -> Interval:
    """Sum over sum, with the 95 % interval over resampled shards; a sample that keeps nothing counts as one kept."""
    draws = generator(0, "forecast").integers(0, len(kept), (DRAWS, len(kept)))
    ratios = spent[draws].sum(axis=1) / np.maximum(kept[draws].sum(axis=1), 1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Interval(float(spent.sum() / kept.sum()), float(low), float(high))


def _busy_share(pilot: RunFolder, device_s: float) -> float:
    """The share of their time that the pilot's generating workers generated; 1 where its times are not known."""
    if not pilot.store.exists("timing.json"):
        return 1.0
    phases = pilot.read_json("timing.json")["phases"]
    spent = sum(phase["seconds"] for phase in phases if phase["name"].startswith(GENERATING))
    actors = pilot.run().cluster.generate.actors
    return min(1.0, device_s / (spent * actors)) if spent > 0 and device_s > 0 else 1.0
