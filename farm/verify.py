"""Recounting a run folder: every planned row once, checksums, decodable pictures, sizes, untouched backgrounds."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from farm import attempts
from farm.config import MethodConfig, RulesConfig, Run, VariationalConfig
from farm.errors import FarmError, StoreError
from farm.ids import shard_name
from farm.images import decode_image, decode_mask
from farm.parts import to_batch
from farm.plan import Plan
from farm.rounds import open_plan
from farm.rows import FAILED, MADE, PLANNED, POISONED, STATUSES, Batch, names
from farm.run_folder import RunFolder
from farm.source_index import read_index

MOST_PROBLEMS = 50
PARTS = ("part.parquet", "done.json")


@dataclass
class Found:
    """What a recount found: counts that add up to the plan, and problems in words."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("planned", *STATUSES, "missing"), 0))
    problems: list[str] = field(default_factory=list)
    damaged: set[int] = field(default_factory=set)  # shards that must be made anew
    failed: set[int] = field(default_factory=set)  # whole shards that hold failed rows
    orphans: list[str] = field(default_factory=list)  # files that belong to nothing, or are not what they say
    stale: bool = False  # the verdicts do not fit the parts

    def add(self, problem: str, shard: int | None = None) -> None:
        """Note a problem, of ``shard`` if making it anew mends that; past ``MOST_PROBLEMS`` they are only counted."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)
        self.counts["problems"] = self.counts.get("problems", 0) + 1
        if shard is not None:
            self.damaged.add(shard)

    def summary(self) -> str:
        """One line for a person."""
        shown = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"{'damaged' if self.problems else 'whole'}: {shown}"


def verify(folder: RunFolder) -> Found:
    """Recount everything in ``folder``; reads every part once."""
    run = folder.run()
    prints = folder.fingerprints()
    plan = open_plan(folder, run, read_index(folder), prints["model"])
    found = Found()
    found.counts["planned"] = len(plan)
    if plan.fingerprint != prints["plan"]:
        found.add(f"run.yaml: plan {prints['plan']} is not what its config and sources give ({plan.fingerprint})")
    done = folder.done_shards()
    for shard in range(plan.shard_count):
        _shard(folder, plan, shard, shard in done, found)
    _orphans(folder, plan, done, found)
    _inversions(folder, found)
    if folder.store.exists(folder.verdict_name("verdicts.parquet")):
        _verdicts(folder, found)
    return found


def _shard(folder: RunFolder, plan: Plan, shard: int, done: bool, found: Found) -> None:
    where = f"shard {shard}"
    wanted = plan.shard_range(shard)
    if not done:
        found.counts["missing"] += len(wanted)
        found.add(f"{where}: rows {wanted.start} to {wanted.stop - 1} are not committed; run the config again")
        return
    try:
        batch = to_batch(folder.read_shard(shard))
        if folder.done(shard)["plan"] != plan.fingerprint:
            found.add(f"{where}: is of another plan", shard)
            return
    except StoreError:
        raise
    except (FarmError, ValueError, KeyError, OSError) as error:  # a marker or part that is not what it was
        found.add(f"{where}: {error}", shard)
        return
    planned = plan.rows(batch["row"].tolist())
    if batch["row"].tolist() != list(wanted):
        found.add(f"{where}: holds other rows than the plan's {wanted.start} to {wanted.stop - 1}", shard)
    for name in names(PLANNED):
        if not np.array_equal(batch[name], planned[name]):
            found.add(f"{where}: column '{name}' differs from the plan", shard)
    if FAILED in batch["status"]:
        found.failed.add(shard)
    for index in range(len(batch["row"])):
        row = {name: values[index] for name, values in batch.items()}
        found.counts[row["status"]] += 1
        problem = _row(row, plan.run)
        if problem:
            found.add(f"{where}, {row['sample_id']}: {problem}", shard)


def _row(row: dict[str, Any], run: Run) -> str:
    """What is wrong with a row's pictures; empty where all is well."""
    if row["status"] != MADE:
        return "" if row["error"] else f"{row['status']} without a reason"
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


def _orphans(folder: RunFolder, plan: Plan, done: set[int], found: Found) -> None:
    wanted = {f"candidates/{shard_name(shard)}/{file}" for shard in range(plan.shard_count) for file in PARTS}
    for name in folder.store.names("candidates"):
        if name not in wanted:
            found.orphans.append(name)
            found.add(f"{name}: belongs to no shard of the plan")
    open_attempts = attempts.counts(folder.store)
    for shard in sorted(done & open_attempts.keys()):  # the driver died between the commit and this
        found.orphans += folder.store.names(f"attempts/{shard_name(shard)}")


def _inversions(folder: RunFolder, found: Found) -> None:
    """Each block of trajectories against its marker's checksum; one that differs is an orphan: it is inverted anew."""
    there = list(folder.store.names("inversions"))
    for name in there:
        if not name.endswith(".json"):
            continue
        tensors = f"{name.removesuffix('.json')}.safetensors"
        try:
            whole = hashlib.sha256(folder.store.read(tensors)).hexdigest() == folder.read_json(name)["sha256"]
        except StoreError:
            raise
        except (FarmError, ValueError, KeyError):
            whole = False
        if not whole:
            found.add(f"{tensors}: is not what its marker says")
            found.orphans += [one for one in (name, tensors) if one in there]


def _verdicts(folder: RunFolder, found: Found) -> None:
    before = len(found.problems)
    try:
        verdicts = to_batch(folder.verdicts())
    except (OSError, ValueError) as error:
        found.add(f"verdicts: cannot be read ({error})")
        found.stale = True
        return
    _recount(verdicts, found)
    found.stale = found.stale or len(found.problems) > before


def _recount(verdicts: Batch, found: Found) -> None:
    counts = Counter(verdicts["verdict"].tolist())
    found.counts.update({name: counts.get(name, 0) for name in ("kept", "refused")})
    rows, there = verdicts["row"], sum(found.counts[name] for name in STATUSES)
    if found.damaged or found.counts["missing"]:
        return  # they can only be held against parts that are whole
    if len(np.unique(rows)) != len(rows) or len(rows) != there:
        found.add(f"verdicts: {len(rows)} for {there} rows; they are judged again after --repair")
    for name in (FAILED, POISONED):
        if counts.get(name, 0) != found.counts[name]:
            found.add(f"verdicts: {counts.get(name, 0)} {name}, but the parts hold {found.counts[name]}")
    if ((verdicts["verdict"] != "kept") & (verdicts["reason"] == "")).any():
        found.add("verdicts: a row that is not kept has no reason")
