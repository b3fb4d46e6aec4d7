"""Settings of one training by ``farm.fitting``."""

from typing import Annotated

from pydantic import Field

from farm.config.base import Frozen, Positive, Share

Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class LoopConfig(Frozen):
    """How long and how fast a network learns: cosine rate with warm-up, AdamW, EMA. ``batch_size`` is global."""

    steps: Positive = 3000
    batch_size: Positive = 16
    accumulate: Positive = 1  # parts into which a worker cuts its share of a batch, one after the other
    lr: Rate = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 100
    final_lr: Share = 0.02  # the last rate as a share of ``lr``
    weight_decay: Weight = 0.01
    clip_norm: Rate = 1.0
    ema: Share = 0.995
    bf16: bool = True
    checkpoint_every: Positive = 500
