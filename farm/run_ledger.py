"""``ledger.parquet`` of a run folder: what was tried, kept and refused and what it cost. Derived from its parts."""

import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from farm.ledger import PICTURES, Spent, build_ledger, stored_bytes
from farm.parts import to_batch
from farm.rows import VERDICTS
from farm.run_folder import RunFolder

GROUPS = ("row", "method", "recipe", "category", "defect", "evaluations")


def write_ledger(folder: RunFolder) -> dict[str, int]:
    """Write the ledger anew; returns planned and each verdict's rows, which add up or ``RunError`` is raised."""
    parts = [_sized(to_batch(table)) for table in folder.candidates([*GROUPS, *PICTURES])]
    candidates = {name: np.concatenate([part[name] for part in parts]) for name in (*GROUPS, "bytes")}
    run = folder.run()
    lines = build_ledger(candidates, to_batch(folder.verdicts()), spent(folder), run.prices)
    rows = [asdict(line) | {"reasons": json.dumps(line.reasons)} for line in lines]
    folder.write_table("ledger.parquet", pa.Table.from_pylist(rows))
    counts = {name: sum(getattr(line, name) for line in lines) for name in VERDICTS}
    return {"planned": run.rows, **counts}


def spent(folder: RunFolder) -> Spent:
    """Seconds by method, added up over the markers; a shard's embedding is shared out by rows."""
    device_s: dict[str, float] = {}
    embed_s: dict[str, float] = {}
    for marker in folder.markers().values():
        costs = marker["costs"]
        rows = sum(cost["rows"] for cost in costs["by_method"].values())
        for name, cost in costs["by_method"].items():
            device_s[name] = device_s.get(name, 0.0) + float(cost["seconds"])
            each = float(costs.get("embed_s", 0.0)) / rows
            embed_s[name] = embed_s.get(name, 0.0) + each * cost["rows"]
    return Spent(device_s, embed_s)


def _sized(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    sizes = stored_bytes(batch)
    return {name: batch[name] for name in GROUPS} | {"bytes": sizes}
