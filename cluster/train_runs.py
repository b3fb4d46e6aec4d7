"""What every training on Ray Train shares: how a run is named, kept and continued, and what its workers ask for.

A run's name decides it: called again under the same name and storage path, it goes on from its last checkpoint. Train's
controller and its helpers ask for no CPU, so the workers are all that counts.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from farm.config import PoolConfig

MAX_FAILURES = 3  # times that a training's workers may die
KEPT_CHECKPOINTS = 2


def run_config(name: str, storage: str, max_failures: int = MAX_FAILURES) -> Any:
    """Ray's ``RunConfig``: the run ``name`` below ``storage`` (path or URL), with its last checkpoints."""
    from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig

    return RunConfig(
        name=name,
        storage_path=storage,
        failure_config=FailureConfig(max_failures=max_failures),
        checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
        logging_config=LoggingConfig(log_level="ERROR"),
    )


def scaling_config(pool: PoolConfig, cuda: bool) -> Any:
    """Ray's ``ScalingConfig``: one worker an actor of ``pool``."""
    from ray.train import ScalingConfig

    each = {"CPU": pool.cpus, "GPU": pool.gpus} if cuda else {"CPU": pool.cpus}
    return ScalingConfig(
        num_workers=pool.actors, use_gpu=cuda, resources_per_worker=each, label_selector=pool.label_selector
    )


def torch_config(cuda: bool) -> Any:
    """Ray's ``TorchConfig``: NCCL between GPUs, gloo between CPUs."""
    from ray.train.torch import TorchConfig

    return TorchConfig(backend="nccl" if cuda else "gloo")


def steps_done(where: str) -> int:
    """The step of the last checkpoint of the Train run at ``where`` (path or URL); 0 where there is none."""
    from ray.train import Result

    try:
        metrics = Result.from_path(where).metrics
    except RuntimeError:  # what Ray raises for a run that has not reported yet
        return 0
    return int(metrics["step"]) if metrics else 0


@contextmanager
def interrupt_handler_restored() -> Iterator[None]:
    """Ray Train leaves a handler of Ctrl-C behind that speaks to a controller long gone; put the old one back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
