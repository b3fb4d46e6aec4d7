"""Any ``farm.fitting`` task on Ray Train: workers share each batch, checkpoints outlive workers and driver.

``fit`` called again under the same name goes on from the last checkpoint, and leaves a finished training as it is. A
step is a function of (task, seed, step), so the death of a worker costs the steps since the last checkpoint and
changes no weight. In the folder lie ``<name>.pt`` (the last checkpoint, once it is finished) and ``<name>.json`` (the
card, written last); on the way ``<name>_curve.json`` and ``<name>_<step>.png``; below ``train/`` what Ray Train keeps.
A name must not mean two things: where settings may change, put their fingerprint into it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.calls import Call, check_pool
from cluster.fit_worker import CHECKPOINT, fit_worker
from cluster.train_runs import (
    MAX_FAILURES,
    interrupt_handler_restored,
    run_config,
    scaling_config,
    steps_done,
    torch_config,
)
from farm.config import PoolConfig
from farm.config.loop import LoopConfig
from farm.errors import FarmError
from farm.store import Store

POLL_S = 1.0

Report = Callable[[int, dict[str, float]], None]  # the step of the last point of the loss curve, and its terms


@dataclass(frozen=True)
class Training:
    """One training: what it learns, how long, and where it is kept.

    ``build()`` gives the ``Task`` on each worker; ``show(fit)``, where given, gives rank 0 a picture, uint8 (H, W, 3),
    at each checkpoint. ``folder`` is a path or URL that the driver and all workers see. A checkpoint ``<name>.pt`` of
    ``Fit.save`` that lies there is gone on from.
    """

    name: str
    build: Call
    loop: LoopConfig
    seed: int
    folder: str
    show: Call | None = None
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Fitted:
    """A finished training: its step, its loss curve, the seconds of this call, and whether it was finished before."""

    step: int
    curve: list[dict[str, float]]
    seconds: float
    skipped: bool


def is_fitted(training: Training) -> bool:
    """Whether the folder has the finished training. Needs neither Ray nor torch."""
    store, card = Store(training.folder), f"{training.name}.json"
    return store.exists(card) and json.loads(store.read(card))["step"] >= training.loop.steps


def fit(training: Training, pool: PoolConfig, report: Report | None = None, max_failures: int = MAX_FAILURES) -> Fitted:
    """Train to the last step with the workers of ``pool``. Ray must be joined; ``report`` is called on the way.

    Raises ``ConfigError`` where the workers cannot share a batch equally, ``ResourceError`` where the cluster cannot
    hold them, a ``FarmError`` of a worker as itself, and Ray's ``TrainingFailedError`` when workers have died more
    than ``max_failures`` times.
    """
    store, begun = Store(training.folder), time.perf_counter()
    if is_fitted(training):
        return _fitted(training, 0.0, skipped=True)
    from farm.fitting.task import check_parts

    check_parts(training.loop, pool.actors)
    check_pool(training.name, pool)
    where = f"{store.url('train')}/{training.name}"
    if steps_done(where) < training.loop.steps:
        with interrupt_handler_restored(), _told(training, report):
            _train(training, pool, max_failures)
    _keep_last(training, where)
    seconds = round(time.perf_counter() - begun, 3)
    card = {"step": training.loop.steps, "workers": pool.actors, "seconds": seconds}
    store.write(f"{training.name}.json", json.dumps(card).encode())
    return _fitted(training, seconds, skipped=False)


def _train(training: Training, pool: PoolConfig, max_failures: int) -> None:
    from ray.train import WorkerGroupError
    from ray.train.torch import TorchTrainer

    cuda = training.device == "cuda"
    trainer = TorchTrainer(
        fit_worker,
        train_loop_config={"training": training},
        torch_config=torch_config(cuda),
        scaling_config=scaling_config(pool, cuda),
        run_config=run_config(training.name, Store(training.folder).url("train"), max_failures),
    )
    try:
        trainer.fit()
    except WorkerGroupError as error:
        for failure in error.worker_failures.values():
            cause = getattr(failure, "_base_exc", failure)  # Ray wraps what a worker raised
            if isinstance(cause, FarmError):
                raise cause from None
        raise


def _keep_last(training: Training, where: str) -> None:
    from ray.train import Result

    store = Store(training.folder)
    with Result.from_path(where).checkpoint.as_directory() as local:
        for name in (f"{CHECKPOINT}.pt", f"{CHECKPOINT}_curve.json"):
            store.write(name.replace(CHECKPOINT, training.name), (Path(local) / name).read_bytes())


def _fitted(training: Training, seconds: float, skipped: bool) -> Fitted:
    store = Store(training.folder)
    step = json.loads(store.read(f"{training.name}.json"))["step"]
    return Fitted(step, json.loads(store.read(f"{training.name}_curve.json")), seconds, skipped)


@contextmanager
def _told(training: Training, report: Report | None) -> Iterator[None]:
    """Tell ``report`` the last point of the loss curve whenever the workers have written a new one."""
    if report is None:
        yield
        return
    store, name, over = Store(training.folder), f"{training.name}_curve.json", threading.Event()

    def tell() -> None:
        last = 0
        while not over.wait(POLL_S):
            curve: list[dict[str, Any]] = json.loads(store.read(name)) if store.exists(name) else []
            if curve and curve[-1]["step"] != last:
                last = int(curve[-1]["step"])
                report(last, curve[-1])

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
