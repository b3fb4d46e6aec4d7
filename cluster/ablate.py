"""An ablation on Ray: stage 1 for each seed, then arms and seeds at once, then their scores. What is there is read."""

from collections.abc import Callable, Sequence
from typing import Any

from cluster.causes import plain
from farm.ablate import STAGE1, train_arm
from farm.ablation_table import NORMALS, score_arm
from farm.config import Run
from farm.run_folder import RunFolder

Tell = Callable[[str], None]


def ablate(run: Run, url: str, arms: Sequence[str], seeds: Sequence[int], tell: Tell) -> dict[tuple[str, int], Any]:
    """What ``score_arm`` finds for each arm and seed. Ray must be joined; ``tell`` hears of each that is done."""
    import ray

    pool = run.cluster.evaluate
    asks = {"num_cpus": pool.cpus, "num_gpus": pool.gpus, "memory": pool.memory_gib * 2**30 or None}
    train, score = (ray.remote(**asks, label_selector=pool.label_selector)(one) for one in (_train, _score))
    settings = run.model_dump_json()
    starts = {seed: train.remote(settings, url, STAGE1, seed) for seed in seeds}
    learned = {
        (arm, seed): train.remote(settings, url, arm, seed, starts[seed])
        for seed in seeds
        for arm in arms
        if arm != NORMALS
    }
    wanted = [(arm, seed) for seed in seeds for arm in arms]
    scores = {score.remote(settings, url, *key, learned.get(key)): key for key in wanted}
    found: dict[tuple[str, int], Any] = {}
    waiting = list(scores)
    while waiting:
        done, waiting = ray.wait(waiting)
        with plain():
            found[scores[done[0]]] = ray.get(done[0])
        arm, seed = scores[done[0]]
        tell(f"{arm}, seed {seed}: done ({len(found)} of {len(wanted)})")
    return found


def _train(run: str, url: str, arm: str, seed: int, *_: None) -> None:
    """``_`` are the results of tasks that come before this one."""
    train_arm(Run.model_validate_json(run), RunFolder(url), arm, seed)


def _score(run: str, url: str, arm: str, seed: int, *_: None) -> dict[str, Any]:
    return score_arm(Run.model_validate_json(run), RunFolder(url), arm, seed)
