"""What ``farm fit`` trains: the task of one arm of a run, and the card of the adapter that comes of it."""

import json
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from torch import Tensor

from farm import provenance
from farm.config import Run, parse
from farm.datasets import load_photos
from farm.errors import ConfigError
from farm.fitting.adapters import Fittable, fit_facts, fitted_arms, own_adapter, write_adapter
from farm.fitting.loop import Fit, read_ema
from farm.fitting.shots import load_shots
from farm.fitting.task import Task
from farm.images import Pixels
from farm.store import Store

TASKS: dict[str, str] = {
    "background_aware": "farm.fitting.background_aware:BackgroundAwareTask",
    "adabldm": "farm.fitting.adabldm:ControlTask",
    "dual": "farm.fitting.dual:DualTask",
}


class MethodTask(Task, Protocol):
    """A ``farm.fitting.task.Task`` whose result is an adapter."""

    def adapter(self) -> dict[str, Tensor]:
        """What to save, from the networks as they are."""

    def load(self, tensors: dict[str, Tensor], /) -> None:
        """Set the networks to what ``adapter`` gave."""

    def show(self, count: int, /) -> Pixels:
        """(H, W, 3): ``count`` samples of the current weights as a grid, for people."""


def build_task(run_json: str, arm: str) -> MethodTask:
    """The training of ``arm`` of the run with this JSON: reads photographs and weights, which stay float32.

    Raises ``ConfigError`` where the arm has nothing to fit, else what photographs, shots and weights raise.
    """
    from farm.diffusion.backbone import load_backbone

    run = parse(json.loads(run_json), "run")
    method = _arm(run, arm)
    shots = load_shots(run, load_photos(run.data), method)
    backbone = load_backbone(run.model, run.compute.model_copy(update={"dtype": "float32"})).private()
    module, _, name = TASKS[method.kind].partition(":")
    task: MethodTask = getattr(import_module(module), name)(method, run, backbone, shots)
    return task


def adapter_card(run: Run, arm: str, steps: int) -> dict[str, Any]:
    """What is known of the adapter of ``arm`` after ``steps`` steps; ``write_adapter`` adds the checksum."""
    photos = load_photos(run.data)
    shots = load_shots(run, photos, _arm(run, arm))
    facts = fit_facts(run, photos, arm)
    return {
        **facts,
        "arm": arm,
        "base": {**run.model.model_dump(mode="json"), "fingerprint": facts["base"]},
        "dataset": {
            "category": photos.category,
            "licence": photos.licence,
            "shots": list(shots.ids),
            "left_out": list(shots.problems),
        },
        "licence": f"Learned from photographs of {photos.category} (licence: {photos.licence}) on the base model "
        f"{run.model.path}; the terms of both hold for these weights and for what they make.",
        "steps": steps,
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }


def save_adapter(run_json: str, arm: str, folder: str, name: str) -> None:
    """Write the adapter of ``arm`` from the EMA weights of the finished checkpoint ``folder/<name>.pt``."""
    run = parse(json.loads(run_json), "run")
    task, method = build_task(run_json, arm), _arm(run, arm)
    assert method.fit is not None
    with TemporaryDirectory() as local:
        path = Path(local) / "fit.pt"
        path.write_bytes(Store(folder).read(f"{name}.pt"))
        task.networks.load_state_dict(read_ema(path))
    write_adapter(own_adapter(run, arm), task.adapter(), adapter_card(run, arm, method.fit.loop.steps))


def show_samples(fit: Fit, count: int = 4) -> Pixels:
    """The hook that ``farm fit`` calls at every checkpoint: ``count`` samples of the EMA weights, for people."""
    with fit.averaged():
        picture: Pixels = fit.task.show(count)  # type: ignore[attr-defined]  # a MethodTask
    return picture


def _arm(run: Run, arm: str) -> Fittable:
    arms = fitted_arms(run)
    if arm not in arms:
        raise ConfigError(
            f"method '{arm}': has nothing to fit (arms with 'fit' and without 'adapter': {', '.join(arms) or 'none'}); "
            "give it a 'fit' section, e.g. 'fit: {}'"
        )
    return arms[arm]
