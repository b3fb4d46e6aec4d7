"""Recounting a run folder: every planned row once, checksums, decodable pictures, sizes, untouched backgrounds."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from farm.config import MethodConfig, RulesConfig, Run, VariationalConfig
from farm.errors import FarmError
from farm.images import decode_image, decode_mask
from farm.parts import from_parquet, to_batch
from farm.plan import Plan
from farm.rows import PLANNED, names
from farm.run_folder import RunFolder
from farm.source_index import read_index

MOST_PROBLEMS = 50


@dataclass
class Found:
    """What a recount found: counts that add up to the plan, and problems in words."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("planned", "made", "failed", "missing"), 0))
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Note a problem; past ``MOST_PROBLEMS`` they are only counted."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)
        self.counts["problems"] = self.counts.get("problems", 0) + 1

    def summary(self) -> str:
        """One line for a person."""
        shown = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{'damaged' if self.problems else 'whole'}: {shown}"


def verify(folder: RunFolder) -> Found:
    """Recount everything in ``folder``; reads every part once."""
    run = folder.run()
    prints = folder.fingerprints()
    plan = Plan(run, read_index(folder), prints["model"])
    found = Found()
    found.counts["planned"] = len(plan)
    if plan.fingerprint != prints["plan"]:
        found.add(f"run.yaml: plan {prints['plan']} is not what its config and sources give ({plan.fingerprint})")
    for shard in range(plan.shard_count):
        _shard(folder, plan, shard, found)
    _orphans(folder, plan, found)
    if folder.store.exists(folder.verdict_name("verdicts.parquet")):
        _verdicts(folder, found)
    return found


def _shard(folder: RunFolder, plan: Plan, shard: int, found: Found) -> None:
    where = f"shard {shard}"
    wanted = plan.shard_range(shard)
    if not folder.is_done(shard):
        found.counts["missing"] += len(wanted)
        found.add(f"{where}: no marker, rows {wanted.start} to {wanted.stop - 1} are missing; run the config again")
        return
    marker = folder.done(shard)
    try:
        data = folder.store.read(f"candidates/shard-{shard:06d}/part.parquet")
        if hashlib.sha256(data).hexdigest() != marker["sha256"]:
            found.add(f"{where}: checksum differs from its marker; delete its folder and run the config again")
            return
        batch = to_batch(from_parquet(data))
    except FarmError as error:
        found.add(f"{where}: {error}")
        return
    planned = plan.rows(batch["row"].tolist())
    if batch["row"].tolist() != list(wanted):
        found.add(f"{where}: holds other rows than the plan's {wanted.start} to {wanted.stop - 1}")
    for name in names(PLANNED):
        if not np.array_equal(batch[name], planned[name]):
            found.add(f"{where}: column '{name}' differs from the plan")
    for index in range(len(batch["row"])):
        row = {name: values[index] for name, values in batch.items()}
        found.counts["made" if row["status"] == "made" else "failed"] += 1
        problem = _row(row, plan.run)
        if problem:
            found.add(f"{where}, {row['sample_id']}: {problem}")


def _row(row: dict[str, Any], run: Run) -> str:
    """What is wrong with a row's pictures; empty where all is well."""
    if row["status"] != "made":
        return "" if row["error"] else "failed without a reason"
    try:
        image, source = (decode_image(row[f"{name}_png"], name) for name in ("image", "source"))
        mask, label = (decode_mask(row[f"{name}_png"], name) for name in ("mask", "label"))
    except FarmError as error:
        return str(error)
    size = (run.size_px, run.size_px)
    if not image.shape[:2] == source.shape[:2] == mask.shape == label.shape == size:
        return f"image {image.shape}, source {source.shape}, mask {mask.shape}, label {label.shape}: not all {size}"
    if row["kind"] == "normal" and label.any():
        return f"a normal whose label marks {int(label.sum())} pixels as a defect"
    reach = touched(np.maximum(mask, label), dict(zip(run.arm_names(), run.methods, strict=True))[row["method"]])
    changed = int((image != source).any(axis=-1)[~reach].sum())
    return f"{changed} background pixels differ from the source" if changed else ""


def touched(mask: Any, method: MethodConfig) -> Any:
    """Where a method may change pixels, (H, W) bool: its mask, dilated where it feathers; all of an image made anew."""
    if isinstance(method, VariationalConfig):
        return np.ones(mask.shape, dtype=bool)
    if not isinstance(method, RulesConfig):
        if not method.composite:
            return np.ones(mask.shape, dtype=bool)
        side = 2 * method.dilate_px + 1
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return mask.astype(bool)


def _orphans(folder: RunFolder, plan: Plan, found: Found) -> None:
    for name in folder.store.names("candidates"):
        shard = name.split("/")[1].removeprefix("shard-")
        if not shard.isdigit() or int(shard) >= plan.shard_count:
            found.add(f"{name}: belongs to no shard of the plan")


def _verdicts(folder: RunFolder, found: Found) -> None:
    verdicts = to_batch(folder.verdicts())
    counts = Counter(verdicts["verdict"].tolist())
    found.counts.update({name: counts.get(name, 0) for name in ("kept", "refused")})
    rows, there = verdicts["row"], found.counts["made"] + found.counts["failed"]
    if len(np.unique(rows)) != len(rows) or len(rows) != there:
        found.add(f"verdicts: {len(rows)} for {there} rows; delete verdicts/ and run the config again")
    if counts.get("failed", 0) != found.counts["failed"]:
        found.add(f"verdicts: {counts.get('failed', 0)} failed, but the parts hold {found.counts['failed']}")
    if ((verdicts["verdict"] != "kept") & (verdicts["reason"] == "")).any():
        found.add("verdicts: a row that is not kept has no reason")
