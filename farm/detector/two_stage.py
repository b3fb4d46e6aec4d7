"""Which images a training step sees: a pure function of (train seed, stage, step, slot).

Stage 1 (card 000, section 4): half normal photographs, half rule-based images, each drawn anew. Stage 2 starts from
stage 1's weights: ``normal_share`` normal, ``replay`` rule-based (against forgetting), the rest kept generated images.
A slot is a place in the global batch, 0 to batch_size - 1; rank r of W owns the r-th of W equal runs of slots. So a
resumed run sees what an undisturbed one sees, whatever the number of workers, and no seed is drawn twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from farm.config import StageConfig, TrainConfig
from farm.errors import ConfigError
from farm.ids import digest, radical_inverse

Stage = Literal["stage1", "stage2"]
Kind = Literal["normal", "rules", "generated"]
STAGE1_NORMAL_SHARE = 0.5


@dataclass(frozen=True)
class Draws:
    """What fills some slots of one step: the kind of image and the seed that decides everything else about it."""

    kind: tuple[Kind, ...]
    seed: npt.NDArray[np.int64]

    def digest(self) -> str:
        """16 hexadecimal characters that name these draws; carried by what was made from them."""
        return digest(self.kind, self.seed.tolist()).hex()[:16]


def stage_config(train: TrainConfig, stage: Stage) -> StageConfig:
    """The settings of one stage."""
    return train.stage1 if stage == "stage1" else train.stage2


def stage_batch(train: TrainConfig, stage: Stage, step: int, slots: Sequence[int]) -> Draws:
    """The draws of ``slots`` in step ``step`` (0-based) of ``stage``."""
    batch_size = stage_config(train, stage).batch_size
    kinds = tuple(_kind(train, stage, step * batch_size + slot) for slot in slots)
    seeds = [_seed(train.seed, stage, step, slot) for slot in slots]
    return Draws(kinds, np.array(seeds, dtype=np.int64))


def rank_slots(batch_size: int, rank: int, world: int, parts: int = 1) -> range:
    """The slots of rank ``rank`` of ``world``.

    Raises ``ConfigError`` where the batch cannot be shared equally, or a share not cut into ``parts`` equal parts.
    """
    if batch_size % (world * parts):
        takers = f"{world} workers (cluster.train.actors)" + (
            f" in {parts} parts each (accumulate)" if parts > 1 else ""
        )
        raise ConfigError(
            f"train: batch_size {batch_size} cannot be shared equally by {takers}; "
            f"use a multiple of {world * parts}, e.g. {-(-batch_size // (world * parts)) * world * parts}"
        )
    share = batch_size // world
    return range(rank * share, (rank + 1) * share)


def _kind(train: TrainConfig, stage: Stage, position: int) -> Kind:
    """Kinds by the van der Corput sequence over all positions: any run of a stage keeps the shares to a few rows."""
    place = radical_inverse(position)
    if stage == "stage1":
        return "normal" if place < STAGE1_NORMAL_SHARE else "rules"
    if place < train.normal_share:
        return "normal"
    return "rules" if place < train.normal_share + train.replay else "generated"


def _seed(seed: int, stage: Stage, step: int, slot: int) -> int:
    return int.from_bytes(digest("train", seed, stage, step, slot)[:8], "little") >> 1
