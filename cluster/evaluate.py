"""Test photographs scored on Ray: each task takes every W-th one, so none is lost to an equal split.

Tasks and not actors: a task whose worker dies is run again by Ray, and a worker that has loaded torch serves the next
stage's task too. Maps stay in the object store; one more task puts them together, so no pixel passes the driver.
"""

from typing import Any

from cluster.causes import plain
from farm.config import Run
from farm.detector.two_stage import Stage
from farm.evaluate import Scored, read_evaluation, score_share, write_evaluation
from farm.run_folder import RunFolder


def is_evaluated(run: Run, folder: RunFolder, stage: Stage) -> bool:
    """Whether the folder has this stage's evaluation of the present detector. Needs neither Ray nor torch."""
    return read_evaluation(run, folder, stage) is not None


def evaluate_stage(run: Run, folder: RunFolder, stage: Stage) -> dict[str, Any]:
    """Score the test photographs, write ``evaluation/<stage>/`` and give its metrics. Ray must be joined."""
    found = read_evaluation(run, folder, stage)
    if found is not None:
        return found
    import ray

    pool = run.cluster.evaluate
    asks = {"num_cpus": pool.cpus, "memory": pool.memory_gib * 2**30 or None}
    score = ray.remote(**asks, num_gpus=pool.gpus, label_selector=pool.label_selector)(_score)
    settings = (run.model_dump_json(), folder.store.root, stage)
    parts = [score.remote(*settings, rank, pool.actors) for rank in range(pool.actors)]
    write = ray.remote(num_cpus=pool.cpus)(_write)
    with plain():
        metrics: dict[str, Any] = ray.get(write.remote(*settings, *parts))
    return metrics


def _score(run: str, url: str, stage: Stage, rank: int, world: int) -> Scored:
    return score_share(Run.model_validate_json(run), RunFolder(url), stage, rank, world)


def _write(run: str, url: str, stage: Stage, *parts: Scored) -> dict[str, Any]:
    return write_evaluation(Run.model_validate_json(run), RunFolder(url), stage, parts)
