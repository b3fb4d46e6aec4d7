"""A judged run of drawn pictures, made at once: rings (masks with a hole), points, normals, refused and failed rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from farm import rows as contract
from farm.images import encode_mask, encode_png
from farm.parts import to_table
from farm.plan import Plan
from farm.prepare import prepare
from farm.run_folder import RunFolder
from tests.photos import make_run, make_tree, plate
from tests.stages import embeddings

SIDE = 64


def make_judged_run(
    root: Path, rows: int = 24, shard_rows: int = 10, order: Sequence[int] | None = None, **changes: Any
) -> RunFolder:
    """Row i is a normal where i % 5 == 4, failed where i % 12 == 11, else refused where i % 4 == 1, else kept.

    ``order`` is that in which shards are committed; ``changes`` replace top-level settings.
    """
    cluster = {"shard_rows": shard_rows, "num_cpus": 4}
    run = make_run(make_tree(root / "plates"), root / "run", rows=rows, cluster=cluster, **changes)
    folder, plan = prepare(run)
    for shard in range(plan.shard_count) if order is None else order:
        batch = drawn(plan, plan.shard_range(shard))
        folder.write_shard(shard, to_table(batch, contract.ENCODED), {"plan": plan.fingerprint})
    numbers = np.arange(rows)
    ids = [plan.row(number)["sample_id"] for number in range(rows)]
    folder.write_table(folder.verdict_name("verdicts.parquet"), to_table(verdicts(numbers, ids), contract.VERDICT))
    return folder


def is_normal(row: int) -> bool:
    return row % 5 == 4


def outcome(row: int) -> str:
    return "failed" if row % 12 == 11 else "refused" if row % 4 == 1 else "kept"


def label(row: int) -> np.ndarray:
    """The mask of a row, (SIDE, SIDE) in {0, 1}: empty, a ring, or a point, a line and a disc."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if is_normal(row):
        return mask
    if row % 2:
        cv2.circle(mask, (20 + row % 20, 30), 9, 1, 3)
        return mask
    mask[3, 5] = mask[0, 0] = mask[SIDE - 1, SIDE - 1] = 1
    mask[10, 20:30] = mask[50:60, 2] = 1
    cv2.circle(mask, (40, 30 + row % 20), 4, 1, -1)
    return mask


def image(row: int) -> np.ndarray:
    pixels = plate(row % 50, SIDE)
    pixels[label(row) > 0] //= 3
    pixels[:2, -4:, 0] = [[row // 65536 % 256, row // 256 % 256, row % 256, 0]] * 2  # no two pictures are equal
    return pixels


def drawn(plan: Plan, numbers: range) -> contract.Batch:
    batch = plan.rows(list(numbers))
    count = len(numbers)
    for place, row in enumerate(numbers):
        if is_normal(row):
            batch["kind"][place], batch["defect"][place], batch["recipe"][place] = "normal", "good", ""
    for column in contract.FACTS:
        text = column.dtype == "str"
        batch[column.name] = np.full(count, "", object) if text else np.zeros(count, column.dtype)
    batch["status"] = np.array(["failed" if outcome(row) == "failed" else "made" for row in numbers], object)
    pictures = {"image_png": [encode_png(image(row)) for row in numbers]}
    pictures |= {"label_png": [encode_mask(label(row)) for row in numbers]}
    pictures |= {"source_png": [b""] * count, "mask_png": [b""] * count}
    for name, values in pictures.items():
        batch[name] = np.empty(count, object)
        batch[name][:] = values
    return {**batch, **embeddings(count)}


def verdicts(numbers: np.ndarray, ids: list[str]) -> contract.Batch:
    told = [outcome(int(row)) for row in numbers]
    count = len(numbers)
    return {
        "row": numbers,
        "sample_id": np.array(ids, object),
        "keep": np.array([one == "kept" for one in told]),
        "verdict": np.array(told, object),
        "reason": np.array([{"kept": "", "refused": "unchanged", "failed": "gone"}[one] for one in told], object),
        **{name: np.full(count, np.nan, np.float32) for name in ("score", "crop_score", "grid_score")},
        "nearest": np.full(count, "", object),
        "neighbour": np.full(count, -1),
        "twin": np.full(count, "", object),
    }
