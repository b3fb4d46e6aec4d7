"""What each kind of training image is worth: detectors that learn equally long from different ones (card 000, 7.8).

    rules        rule-based images, in both stages
    few_shot     the real defects that may be learned from, and nothing else
    generated    kept generated images from the first step on, no rules
    half         rules, then every second kept image
    filtered     rules, then the kept images: what a run trains
    unfiltered   rules, then all images that were made, junk too

Every arm learns ``stage1.steps + stage2.steps`` steps; those with two stages share stage 1's weights for each seed. The
last step counts, so no photograph chooses a checkpoint. Ray-free; ``cluster.ablate`` hands arms and seeds to workers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from farm.config import Run
from farm.datasets import read_mask, read_photo
from farm.detector.materials import KEPT_COLUMNS, SOURCE, Kept, Materials, kept_defects, read_kept, read_materials
from farm.detector.two_stage import Stage, stage_batch, stage_config
from farm.errors import DataError, RunError
from farm.ids import fingerprint
from farm.images import encode_mask, encode_png
from farm.rows import MADE
from farm.run_folder import RunFolder
from farm.source_index import read_index

VERSION = 1  # raised when an arm's meaning changes
STAGE1 = "stage1"  # the weights that arms with two stages start from


@dataclass(frozen=True)
class Arm:
    """``read`` gives what its generated slots are filled with; ``two_stages`` whether it starts from rules."""

    read: Callable[[RunFolder], Kept | None]
    two_stages: bool


def _kept(folder: RunFolder) -> Kept:
    return read_kept(folder, _reconstructs(folder))


def _half(folder: RunFolder) -> Kept:
    names = [name for table in folder.kept(["sample_id"]) for name in table["sample_id"].to_pylist()]
    return read_kept(folder, _reconstructs(folder), names[::2])


def _made(folder: RunFolder) -> Kept:
    """The made defects, whatever the verdict."""
    columns = [*KEPT_COLUMNS, SOURCE] if _reconstructs(folder) else list(KEPT_COLUMNS)
    table = pa.concat_tables(folder.candidates([*columns, "status"]))
    wanted = pc.and_(pc.equal(table["status"], MADE), pc.equal(table["kind"], "defect"))
    return kept_defects(table.filter(wanted).select(columns))


def _few_shot(folder: RunFolder) -> Kept:
    """The few-shot photographs that show where their defect is, as if they were generated."""
    run, rows = folder.run(), []
    for photo in read_index(folder).shots:
        if photo.mask_path:
            image, mask = (read(photo, run.size_px, run.data.max_megapixels) for read in (read_photo, read_mask))
            rows.append({"image_png": encode_png(image), "label_png": encode_mask(mask), "defect": photo.defect})
    return kept_defects(pa.Table.from_pylist([{"kind": "defect", "method": "few_shot", **row} for row in rows]))


def _reconstructs(folder: RunFolder) -> bool:
    return folder.run().train.detector.reconstructs


ARMS: dict[str, Arm] = {
    "rules": Arm(lambda _: None, two_stages=True),
    "few_shot": Arm(_few_shot, two_stages=False),
    "generated": Arm(_kept, two_stages=False),
    "half": Arm(_half, two_stages=True),
    "filtered": Arm(_kept, two_stages=True),
    "unfiltered": Arm(_made, two_stages=True),
}


def arm_settings(run: Run, arm: str, seed: int) -> Run:
    """``run`` with the training settings of ``arm`` (or of ``STAGE1``) for ``seed``."""
    train = run.train.model_copy(update={"seed": seed, "validation_share": 0.0})
    if arm == "rules":
        train = train.model_copy(update={"replay": 1 - train.normal_share})
    elif arm != STAGE1 and not ARMS[arm].two_stages:
        steps = train.stage1.steps + train.stage2.steps
        train = train.model_copy(update={"replay": 0.0, "stage2": train.stage1.model_copy(update={"steps": steps})})
    return run.model_copy(update={"train": train})


def arm_materials(run: Run, folder: RunFolder, arm: str) -> Materials:
    """What ``arm`` learns from. Raises ``DataError`` where it has no image of its own."""
    materials = read_materials(run, read_index(folder))
    if arm == STAGE1:
        return materials
    kept = ARMS[arm].read(folder)
    if kept is not None and not len(kept):
        raise DataError(f"{folder.store.root}: the arm '{arm}' has no image to learn from; leave it out")
    return replace(materials, kept=kept)


def learn(run: Run, materials: Materials, stage: Stage, weights: bytes | None = None) -> bytes:
    """All steps of ``stage`` in this process, from ``weights`` (None = an untrained detector); the last weights."""
    import torch

    from farm.detector.checkpoint import from_bytes, to_bytes
    from farm.detector.feed import Feed
    from farm.detector.loop import Loop
    from farm.detector.model import build_detector

    torch.set_num_threads(run.compute.threads)
    config, feed = stage_config(run.train, stage), Feed(run, materials)
    model = build_detector(run.train.detector, run.train.seed, pretrained=weights is None).to(run.compute.device)
    if weights is not None:
        from_bytes(model, weights, "stage 1 of the ablation")
    loop = Loop(model, config, dtype=run.compute.dtype)
    draws = (stage_batch(run.train, stage, step, range(config.batch_size)) for step in range(config.steps))
    loop.run(feed(one) for one in draws)
    return to_bytes(model)


def place(run: Run, folder: RunFolder, arm: str, seed: int) -> str:
    """Where the files of ``arm`` and ``seed`` are, named after all that decides them."""
    settings = arm_settings(run, arm, seed)
    images = "" if arm in (STAGE1, "rules", "few_shot") else folder.fingerprints()["judge"]
    parts: list[Any] = [VERSION, settings.train.model_dump(mode="json"), settings.size_px, images]
    parts += [settings.compute.model_dump(mode="json"), [m.model_dump(mode="json") for m in settings.methods]]
    return f"ablation/{arm}/seed-{seed}-{fingerprint([*parts, read_index(folder).fingerprint])}"


def train_arm(run: Run, folder: RunFolder, arm: str, seed: int) -> bytes:
    """The weights of ``arm`` (or of ``STAGE1``) for ``seed``: read where they were learned before, else learned here.

    Raises ``RunError`` where an arm of two stages comes before its stage 1.
    """
    name = f"{place(run, folder, arm, seed)}/model.safetensors"
    if folder.store.exists(name):
        return folder.store.read(name)
    settings = arm_settings(run, arm, seed)
    start = None
    if arm != STAGE1 and ARMS[arm].two_stages:
        before = f"{place(run, folder, STAGE1, seed)}/model.safetensors"
        if not folder.store.exists(before):
            raise RunError(
                f"{folder.store.root}: the arm '{arm}' starts from stage 1's weights; learn '{STAGE1}' first"
            )
        start = folder.store.read(before)
    weights = learn(settings, arm_materials(settings, folder, arm), "stage1" if arm == STAGE1 else "stage2", start)
    folder.store.write(name, weights)
    return weights


def seeds_of(run: Run, count: int) -> list[int]:
    """``count`` seeds of training, the run's own first."""
    return (run.train.seed + np.arange(count)).tolist()
