"""A training stage on Ray Train V2: DDP workers learn what Ray Data actors make (``cluster.feed``).

Resume: what a step sees is a function of the step (``farm.detector.two_stage``), and the dataset is built anew at each
start of the workers from the step of the last checkpoint. So the death of a worker costs at most the steps since then,
and the weights are those of an undisturbed run. ``train_stage`` called again after the driver died continues in the
same way, since the name of the Train run is the stage's fingerprint.

Resources: only the workers (``cluster.train``) and the makers (``cluster.rules``) ask for CPUs. Train's controller and
its helpers, the dataset manager and the split coordinator ask for none, and the dataset's source needs no task.

One worker with a batch of 2B and two workers with B give equal weights up to the order of additions (2e-4 a weight
after twelve steps is tested); ``unet`` and ``draem`` are left out of this promise, since their BatchNorm sees
each worker's rows alone.
"""

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cluster.causes import plain
from cluster.feed import Stream, load_materials
from cluster.train_runs import interrupt_handler_restored, run_config, scaling_config, steps_done, torch_config
from cluster.train_worker import BATCHES, train_worker, untrained_weights
from farm.config import Run
from farm.config.base import Frozen
from farm.detector.encoder_file import encoder_digest
from farm.detector.feed import rules_config
from farm.detector.two_stage import Stage, rank_slots, stage_config
from farm.errors import RunError
from farm.ids import digest, fingerprint
from farm.run_folder import RunFolder
from farm.source_index import read_index

VERSION = 1  # raised when the meaning of a training changes, so that old and new detectors never mix
LATER = ("encoder", "encoder_weights", "accumulate")  # came later: by default nothing changes
WEIGHTS, CARD, COSTS = "model.safetensors", "card.json", "costs.json"

Trained = tuple[bytes, dict[str, Any], dict[str, float]]  # weights, the last checkpoint's card, seconds


def is_trained(run: Run, folder: RunFolder, stage: Stage) -> bool:
    """Whether the folder has this stage's detector as ``run`` asks for it. Needs neither Ray nor torch."""
    if stage == "stage2" and not is_trained(run, folder, "stage1"):
        return False
    name = _name(stage, CARD)
    return folder.store.exists(name) and folder.read_json(name)["fingerprint"] == _fingerprint(run, folder, stage)


def train_stage(run: Run, folder: RunFolder, stage: Stage) -> dict[str, Any]:
    """Train ``stage`` and write its detector into the folder; a finished one is left as it is. Ray must be joined.

    Gives the card, ``skipped`` and the ``costs``. Stage 2 with no kept image, or no steps, is stage 1's weights to the
    bit. Raises ``RunError`` where stage 1 is not trained or the run not judged, ``ConfigError`` where the workers
    cannot share a batch equally.
    """
    if is_trained(run, folder, stage):
        return {**folder.read_json(_name(stage, CARD)), "costs": folder.read_json(_name(stage, COSTS)), "skipped": True}
    begun = time.perf_counter()
    mark = _fingerprint(run, folder, stage)
    generated = len(_kept_ids(folder)) if stage == "stage2" else 0
    weights, progress, costs = _train(run, folder, stage, mark, generated)
    card = {
        "fingerprint": mark,
        "stage": stage,
        "detector": run.train.detector.model_dump(mode="json"),
        "settings": run.train.model_dump(mode="json", exclude={"detector"}),
        "size_px": run.size_px,
        "generated": generated,
        "threshold": progress.get("threshold"),
        "validation": progress.get("validation", []),
        "steps": progress["step"],
        "losses": progress["losses"],
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    costs = {**costs, "seconds": round(time.perf_counter() - begun, 3)}
    folder.store.write(_name(stage, WEIGHTS), weights)
    folder.write_json(_name(stage, COSTS), costs)
    folder.write_json(_name(stage, CARD), card)
    return {**card, "costs": costs, "skipped": False}


def _train(run: Run, folder: RunFolder, stage: Stage, mark: str, generated: int) -> Trained:
    config = stage_config(run.train, stage)
    if stage == "stage2" and not (generated and config.steps):
        threshold = folder.read_json(_name("stage1", CARD)).get("threshold")
        return folder.store.read(_name("stage1", WEIGHTS)), {"step": 0, "losses": [], "threshold": threshold}, {}
    if not config.steps:
        (weights,) = _task(untrained_weights, 1, run.cluster.train.cpus, run.model_dump_json())
        return _get(weights), {"step": 0, "losses": []}, {}
    rank_slots(config.batch_size, 0, run.cluster.train.actors, config.accumulate)
    return _fit(run, folder, stage, f"{stage}-{mark}")


def _fit(run: Run, folder: RunFolder, stage: Stage, name: str) -> Trained:
    """Train to the last step, from the last checkpoint if there is one."""
    from ray.train import Result

    where = f"{folder.store.url('train')}/{name}"
    costs: dict[str, float] = {}
    if steps_done(where) < stage_config(run.train, stage).steps:
        asked = (run.model_dump_json(), folder.store.root, stage)
        materials, count = _task(load_materials, 2, run.cluster.rules.cpus, *asked)
        trainer = _trainer(run, folder, stage, name, Stream(run, stage, materials, partial(steps_done, where)))
        _get(count)  # the photographs stay on the cluster; what is wrong with them is raised here
        with interrupt_handler_restored():
            costs = trainer.fit().return_value or {}
    with Result.from_path(where).checkpoint.as_directory() as local:
        progress = json.loads((Path(local) / CARD).read_text())
        return (Path(local) / progress.get("weights", WEIGHTS)).read_bytes(), progress, costs


def _trainer(run: Run, folder: RunFolder, stage: Stage, name: str, stream: Stream) -> Any:
    from ray.data import ExecutionOptions
    from ray.train import DataConfig
    from ray.train.torch import TorchTrainer

    cuda = run.compute.device == "cuda"
    return TorchTrainer(
        train_worker,
        train_loop_config={"run": run.model_dump_json(), "url": folder.store.root, "stage": stage},
        torch_config=torch_config(cuda),
        scaling_config=scaling_config(run.cluster.train, cuda),
        run_config=run_config(name, folder.store.url("train")),
        datasets={BATCHES: stream},
        dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True), enable_shard_locality=False),
    )


def _task(function: Callable[..., Any], results: int, cpus: float, *arguments: Any) -> list[Any]:
    import ray

    refs = ray.remote(num_cpus=cpus, num_returns=results)(function).remote(*arguments)
    return list(refs) if results > 1 else [refs]


def _get(result: Any) -> Any:
    """A task's result."""
    import ray

    with plain():
        return ray.get(result)


def _name(stage: Stage, name: str) -> str:
    return f"detectors/{stage}/{name}"


def _fingerprint(run: Run, folder: RunFolder, stage: Stage) -> str:
    """The name of all that decides a stage's weights (the number of workers does so only by rounding)."""
    train = run.train
    parts: dict[str, Any] = {
        "version": VERSION,
        "stage": stage,
        "seed": train.seed,
        "detector": _told(train.detector),
        "config": _told(stage_config(train, stage)),
        "rules": rules_config(run).model_dump(mode="json", exclude={"name", "share", "sources"}),
        "size_px": run.size_px,
        "compute": [run.compute.device, run.compute.threads],
        "photos": read_index(folder).fingerprint,
    }
    if run.compute.dtype == "bfloat16":  # float16 learns as float32 does
        parts["dtype"] = run.compute.dtype
    if train.validation_share:
        parts["validation"] = train.validation_share
    if train.compile:
        parts["compile"] = True
    if train.detector.encoder_weights is not None:
        parts["encoder"] = encoder_digest(train.detector.encoder_weights)
    if stage == "stage2":
        parts["shares"] = [train.normal_share, train.replay]
        parts["kept"] = digest(_kept_ids(folder)).hex()
        parts["stage1"] = _stage1_weights(folder)
    return fingerprint(parts)


def _told(settings: Frozen) -> dict[str, Any]:
    """What decides weights; a setting of ``LATER`` is told where it has not its default, so old trainings stay."""
    told, fields = settings.model_dump(mode="json", exclude={"checkpoint_every"}), type(settings).model_fields
    return {name: value for name, value in told.items() if name not in LATER or value != fields[name].default}


def _stage1_weights(folder: RunFolder) -> str:
    if not folder.store.exists(_name("stage1", CARD)):
        raise RunError(f"{folder.store.root}: stage 2 starts from stage 1's weights, and there are none; train stage 1")
    return str(folder.read_json(_name("stage1", CARD))["sha256"])


def _kept_ids(folder: RunFolder) -> list[str]:
    return [name for table in folder.kept(["sample_id"]) for name in table["sample_id"].to_pylist()]
