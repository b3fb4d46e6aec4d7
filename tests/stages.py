"""Stages outside Ray: the one that generates, with a method of the test's own, and what the one that embeds adds."""

from typing import Any

import numpy as np

from farm.config import Run
from farm.datasets import load_photos
from farm.errors import RunError
from farm.plan import Plan
from farm.rows import Batch
from farm.stages.generate import Generate


def generating(run: Run, method: Any | None = None) -> Generate:
    """The stage of ``run``; ``method`` stands for all of its arms."""
    photos = load_photos(run.data)

    def none(arm: str, photo: str) -> Any:
        raise RunError(f"no trajectory of {photo} for {arm}")

    made = Generate(run, photos, Plan(run, photos, "m"), none)
    if method is not None:
        made._methods = dict.fromkeys(run.arm_names(), method)
    return made


def first_rows(made: Generate, count: int) -> dict[str, Any]:
    """The first ``count`` rows of the plan, made as one batch."""
    return made.make([made.plan.row(number) for number in range(count)])[0]


def embeddings(count: int, dim: int = 2) -> Batch:
    """``rows.EMBEDDINGS`` of ``count`` rows as an embedder without crops and texts makes them, all vectors equal."""
    nothing = {"crops": np.zeros((count, 0), np.float32), "text_margin": np.full(count, np.nan, np.float32)}
    return {"embedding": np.full((count, dim), dim**-0.5, np.float32), **nothing}
