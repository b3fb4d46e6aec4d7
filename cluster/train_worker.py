"""What one training worker does, and the tasks beside it. Imports torch only when it runs, so that drivers need not."""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from cluster.feed import read
from farm.config import Run
from farm.detector.two_stage import Stage, stage_config
from farm.run_folder import RunFolder

BATCHES = "batches"  # the name of the dataset


def train_worker(settings: dict[str, Any]) -> dict[str, float]:
    """Learn the remaining steps of a stage with the other ranks; gives this rank's seconds by what they went to."""
    import ray.train

    run, stage = Run.model_validate_json(settings["run"]), settings["stage"]
    begun = time.perf_counter()
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return _learn(run, stage, settings["url"], None, begun)
    with checkpoint.as_directory() as folder:
        return _learn(run, stage, settings["url"], Path(folder), begun)


def _learn(run: Run, stage: Stage, url: str, last: Path | None, begun: float) -> dict[str, float]:
    import ray.train
    import ray.train.torch
    import torch

    from farm.detector.checkpoint import read_checkpoint, read_progress
    from farm.detector.loop import Loop

    progress: dict[str, Any] = read_progress(last) if last else {"step": 0, "losses": []}
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    shard = ray.train.get_dataset_shard(BATCHES)
    batches = read(run, stage, shard, progress["step"], rank, world)
    with ThreadPoolExecutor(1) as beside:  # the makers start while the model is built
        first = beside.submit(next, batches)
        torch.set_num_threads(run.compute.threads)
        config = stage_config(run.train, stage)
        model = _start(run, stage, url).to(ray.train.torch.get_device())
        shared = run.train.detector.mixes_rows  # its BatchNorm has statistics to share; those of others are frozen
        wrapped = ray.train.torch.prepare_model(model, parallel_strategy_kwargs={"broadcast_buffers": shared})
        loop = Loop(model, config, wrapped, run.compute.dtype, run.train.compile)
        if last:
            read_checkpoint(last, model, loop.optimiser)
        loop.step, losses = progress["step"], progress["losses"]
        selection = _selection(run, stage, url, last, progress) if rank == 0 and run.train.validation_share else None
        batches = chain([first.result()], batches)

    clock = _Clock(begun)
    recent: list[Any] = []
    for examples in clock.waiting(batches):
        recent.append(loop.learn(*examples))
        if loop.step % config.checkpoint_every == 0 or loop.step == config.steps:
            losses = losses + _mean_losses(recent, world)
            recent = []
            _report(loop, losses, rank, selection)
    return clock.seconds()


def untrained_weights(run: str) -> bytes:
    """The weights before the first step, as safetensors. A Ray task."""
    from farm.detector.checkpoint import to_bytes

    settings = Run.model_validate_json(run)
    return to_bytes(_start(settings, "stage1", ""))


def _start(run: Run, stage: Stage, url: str) -> Any:
    """The model as the stage begins: new, or with stage 1's weights."""
    from farm.detector.checkpoint import WEIGHTS, from_bytes
    from farm.detector.model import build_detector

    model = build_detector(run.train.detector, run.train.seed, pretrained=stage == "stage1")
    if stage == "stage2":
        store, name = RunFolder(url).store, f"detectors/stage1/{WEIGHTS}"
        from_bytes(model, store.read(name), store.url(name))
    return model


def _selection(run: Run, stage: Stage, url: str, last: Path | None, progress: dict[str, Any]) -> Any:
    """What chooses the best checkpoint, as it was when ``last`` was written."""
    from farm.detector.materials import stage_materials
    from farm.detector.validation import Selection, Validation

    selection = Selection(Validation(run, stage, stage_materials(run, RunFolder(url), stage, "validation")))
    if last:
        selection.resume(last, progress)
    return selection


def _mean_losses(recent: list[Any], world: int) -> list[float]:
    """The losses of the last steps, each the mean over all ranks."""
    import torch

    losses = torch.stack(recent).double()
    if world > 1:
        torch.distributed.all_reduce(losses)
    return [round(value, 8) for value in (losses / world).tolist()]


def _report(loop: Any, losses: list[float], rank: int, selection: Any) -> None:
    """Hand a checkpoint to Ray Train; rank 0 measures and writes it, all ranks wait for it."""
    import ray.train

    from farm.detector.checkpoint import write_checkpoint

    metrics, name = {"step": loop.step, "loss": losses[-1]}, f"step-{loop.step:08d}"
    if rank:
        ray.train.report(metrics, checkpoint_dir_name=name)
        return
    with tempfile.TemporaryDirectory() as folder:
        card: dict[str, Any] = {"step": loop.step, "losses": losses}
        if selection is not None:
            selection.look(loop.step, loop.model)
            card |= selection.write(Path(folder))
        write_checkpoint(Path(folder), loop.model, loop.optimiser, card)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder), checkpoint_dir_name=name)


class _Clock:
    """Tells waiting for images from learning, and both from the start."""

    def __init__(self, begun: float) -> None:
        self._seconds = {"start_s": time.perf_counter() - begun, "wait_s": 0.0, "learn_s": 0.0}
        self._steps = 0

    def waiting(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Pass ``batches`` on, timing both sides."""
        mark = time.perf_counter()
        for batch in batches:
            mark = self._count("wait_s", mark)
            yield batch
            mark = self._count("learn_s", mark)
            self._steps += 1

    def seconds(self) -> dict[str, float]:
        """``start_s``, ``wait_s`` (starving), ``learn_s`` (with checkpoints) and ``steps``, since the last start."""
        return {**{name: round(value, 3) for name, value in self._seconds.items()}, "steps": float(self._steps)}

    def _count(self, name: str, mark: float) -> float:
        now = time.perf_counter()
        self._seconds[name] += now - mark
        return now
