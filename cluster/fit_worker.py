"""What one worker of ``cluster.fit`` does. Imports torch only when it runs, so that drivers need not."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from farm.store import Store

CHECKPOINT = "fit"  # stem of the files in a checkpoint of Ray Train


def fit_worker(settings: dict[str, Any]) -> None:
    """Learn the remaining steps of ``settings["training"]`` with the other ranks."""
    import ray.train.torch
    import torch

    from farm.fitting.loop import Fit
    from farm.fitting.workers import ProcessGroup

    training = settings["training"]
    torch.set_num_threads(training.threads)
    fit = Fit(training.build(), training.loop, training.seed, ProcessGroup(), ray.train.torch.get_device())
    _resume(fit, training)
    if fit.step >= training.loop.steps and ray.train.get_checkpoint() is None:  # finished elsewhere
        _keep(fit, training)
    fit.run(partial(_keep, training=training))


def _resume(fit: Any, training: Any) -> None:
    """Go on from Ray Train's last checkpoint, else from the one in the folder, else from the start."""
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as local:
            fit.resume(Path(local) / f"{CHECKPOINT}.pt")
        return
    store, name = Store(training.folder), f"{training.name}.pt"
    if store.exists(name):
        with tempfile.TemporaryDirectory() as local:
            path = Path(local) / name
            path.write_bytes(store.read(name))
            fit.resume(path)


def _keep(fit: Any, training: Any) -> None:
    """Hand a checkpoint to Ray Train; rank 0 writes it with the curve and the picture, all ranks wait for it."""
    import json

    import ray.train

    from farm.images import encode_png

    metrics, name = {"step": fit.step, "loss": fit.curve[-1]["loss"]}, f"step-{fit.step:08d}"
    if fit.workers.rank:
        ray.train.report(metrics, checkpoint_dir_name=name)
        return
    store = Store(training.folder)
    store.write(f"{training.name}_curve.json", json.dumps(fit.curve).encode())
    if training.show is not None:
        store.write(f"{training.name}_{fit.step:06d}.png", encode_png(training.show(fit)))
    with tempfile.TemporaryDirectory() as folder:
        fit.save(Path(folder) / f"{CHECKPOINT}.pt")
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder), checkpoint_dir_name=name)
