"""What a run folder holds, read once for a report. Only run.yaml is required: a part not written yet is None or empty.

The rows' facts are read without their pictures, so that a run of a million rows fits in memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from farm import rows
from farm.config import Run
from farm.parts import to_batch
from farm.rows import Array, Batch
from farm.run_folder import RunFolder

STAGES = {"stage1": "Stage 1", "stage2": "Stage 2"}
OUTCOMES = KEPT, REFUSED, FAILED, POISONED = rows.VERDICTS
UNJUDGED = "not judged"

_FACTS = (*rows.PLANNED, *rows.FACTS, *(column for column in rows.EMBEDDINGS if not column.shape))  # no vectors


@dataclass(frozen=True)
class Inputs:
    """A run folder's contents as the report needs them."""

    folder: RunFolder
    settings: dict[str, Any]  # run.yaml
    run: Run
    shards: int  # committed shards
    samples: Batch  # planned columns, facts, and what ``_with_outcome`` adds; one entry a committed row
    judged: bool
    costs: list[dict[str, Any]]  # one a committed shard
    calibration: dict[str, Any]
    photos: dict[str, dict[str, Any]]  # sources/index.parquet by photo id, without refused files
    refused_photos: list[tuple[str, str]]  # (file, reason)
    ledger: list[dict[str, Any]]
    metrics: dict[str, dict[str, Any]]  # by stage
    scores: dict[str, Batch]  # evaluation/<stage>/scores.parquet by stage
    phases: list[dict[str, Any]]  # timing.json

    @property
    def committed(self) -> int:
        """How many rows are in committed shards."""
        return len(self.samples["row"])


def read_inputs(folder: RunFolder) -> Inputs:
    """Everything but the pictures. Raises ``RunError`` where run.yaml is missing, ``ConfigError`` where it is wrong."""
    run = folder.run()
    committed = sorted(folder.done_shards())
    facts = [folder.read_shard(shard, rows.names(_FACTS)) for shard in committed]
    index = _records(folder, "sources/index.parquet")
    verdicts = _table(folder, folder.verdict_name("verdicts.parquet"))
    return Inputs(
        folder=folder,
        settings=folder.settings(),
        run=run,
        shards=len(committed),
        samples=_with_outcome(_joined(facts), verdicts),
        judged=verdicts is not None,
        costs=[folder.done(shard).get("costs") or {} for shard in committed],
        calibration=_mapping(folder, folder.verdict_name("calibration.json")),
        photos={str(photo["photo_id"]): photo for photo in index if photo["photo_id"]},
        refused_photos=[(str(photo["relative"]), str(photo["reason"])) for photo in index if not photo["photo_id"]],
        ledger=_records(folder, "ledger.parquet"),
        metrics={stage: found for stage in STAGES if (found := _mapping(folder, "metrics.json").get(stage))},
        scores=_scores(folder),
        phases=list(_mapping(folder, "timing.json").get("phases", [])),
    )


def local_file(place: str) -> Path | None:
    """The file at ``place`` (a path or file:// URL) where it lies on this machine, else None."""
    path = Path(place.removeprefix("file://"))
    return path if place and "://" not in str(place).removeprefix("file://") and path.is_file() else None


def _joined(facts: list[pa.Table]) -> Batch:
    if facts:
        return to_batch(pa.concat_tables(facts))
    return {column.name: np.empty(0, _dtype(column)) for column in _FACTS}


def _dtype(column: rows.Column) -> Any:
    return object if column.dtype == "str" else column.dtype


def _with_outcome(samples: Batch, verdicts: pa.Table | None) -> Batch:
    """``samples`` with the judge's columns; a row without a verdict is failed or not judged."""
    count = len(samples["row"])
    outcome = np.where(samples["status"] == rows.MADE, UNJUDGED, samples["status"]).astype(object)
    judged: Batch = {
        "outcome": outcome,
        "reason": np.full(count, "", object),
        **{name: np.full(count, np.nan, np.float32) for name in ("score", "crop_score", "grid_score")},
        "nearest": np.full(count, "", object),
        "neighbour": np.full(count, -1, np.int64),
        "twin": np.full(count, "", object),
    }
    if verdicts is not None and verdicts.num_rows and count:
        found = to_batch(verdicts)
        found["outcome"] = found["verdict"]
        order = np.argsort(found["row"], kind="stable")
        place = np.searchsorted(found["row"][order], samples["row"]).clip(max=len(order) - 1)
        match = found["row"][order][place] == samples["row"]
        for name in judged.keys() & found.keys():  # verdicts of an older farm have fewer columns
            judged[name][match] = found[name][order][place][match]
    return {**samples, **judged}


def _scores(folder: RunFolder) -> dict[str, Batch]:
    found = {stage: _table(folder, f"evaluation/{stage}/scores.parquet") for stage in STAGES}
    return {stage: _sorted(to_batch(table), "photo_id") for stage, table in found.items() if table is not None}


def _sorted(batch: Batch, key: str) -> Batch:
    order: Array = np.argsort(batch[key].astype(str), kind="stable")
    return {name: values[order] for name, values in batch.items()}


def _table(folder: RunFolder, name: str) -> pa.Table | None:
    return folder.read_table(name) if folder.store.exists(name) else None


def _records(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    table = _table(folder, name)
    return [] if table is None else list(table.to_pylist())


def _mapping(folder: RunFolder, name: str) -> dict[str, Any]:
    return dict(folder.read_json(name)) if folder.store.exists(name) else {}
