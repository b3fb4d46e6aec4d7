"""``farm fit-all``: every arm that the given runs train, as many at once as the cluster holds.

Each pair is its own Ray Train run, driven by its own Ray task without a CPU. Ray Train is made to be driven so: its
guide starts many trainings from Ray Tune, where each driver is a process by itself. ``TorchTrainer.fit`` puts its
controller on the node of its driver, and in the main thread it takes over Ctrl-C; tasks spread the first over the
nodes and keep the second away from this process. A task that dies is run again and goes on from the last checkpoint.
How far a pair is stands in the curve that its workers write into the store.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.causes import below, farm_error
from cluster.fit import Training
from cluster.fit_arms import fit_arm, located, training
from cluster.fit_board import Board, Node, Pair
from cluster.train_runs import MAX_FAILURES
from farm.config import Run, parse
from farm.datasets import load_photos
from farm.datasets.photo import PhotoSet, defect_name
from farm.errors import ConfigError, FarmError
from farm.fitting.adapters import CARD, Fittable, fitted_arms, is_current, own_adapter
from farm.plan import method_defects
from farm.prepare import prepare
from farm.store import Store

POLL_S = 1.0
TABLE_S = 60.0  # between two tables in the log

Log = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """One pair with the run that it belongs to; ``problem`` says why it cannot even begin."""

    pair: Pair
    run: Run
    training: Training | None = None
    current: bool = False
    problem: str = ""


def fit_all(runs: Sequence[tuple[str, Run]], at_once: int | None, log: Log) -> Board:
    """Train what is missing of all arms of ``runs`` (config's name, settings); returns the table with every pair ended.

    Raises ``ConfigError`` before anything starts where two arms would share a folder, where the runs ask for
    different clusters, or where nothing learns. What fails later fails its own pair alone.
    """
    check_runs(runs)
    asked = {one.pair: one for config, run in runs for one in _open(config, run)}
    board = Board(list(asked), at_once)
    for pair, one in asked.items():
        if one.problem:
            board.fail(pair, one.problem)
        elif one.current:
            _tell(board, one, log)
            board.skip(pair)
    _say(board, [pair for pair in asked if pair not in board.pairs("waiting")], log)
    if board.pairs("waiting"):
        from cluster import session

        session.connect(runs[0][1].cluster)
        _train(board, asked, log)
        _keep_sums(board, runs, log)
    return board


def check_runs(runs: Sequence[tuple[str, Run]]) -> None:
    """Raise ``ConfigError`` where ``runs`` cannot be trained by one call; the text names both configs."""
    owners: dict[tuple[str, str], int] = {}
    for index, (config, run) in enumerate(runs):
        for arm in fitted_arms(run):
            owner = owners.setdefault((_folder(run), arm), index)
            if owner != index:
                raise ConfigError(
                    f"{runs[owner][0]} and {config}: both train '{arm}' into {_folder(run)}, and one folder never "
                    "mixes two. Give each config an output of its own, and each config once"
                )
    if not owners:
        names = ", ".join(config for config, _ in runs)
        raise ConfigError(
            f"{names}: no method learns here; give one a 'fit' section, e.g. fit: {{loop: {{steps: 800}}}}"
        )
    first = {name: getattr(runs[0][1].cluster, name) for name in ("address", "num_cpus", "num_gpus")}
    for config, run in runs[1:]:
        for name, value in first.items():
            if getattr(run.cluster, name) != value:
                raise ConfigError(
                    f"{runs[0][0]} has cluster.{name}={value}, {config} has {getattr(run.cluster, name)}; one call "
                    f"joins one cluster. Set the same for all, e.g. --set cluster.{name}=..."
                )


def _open(config: str, run: Run) -> Iterator[Asked]:
    """Read the photographs of ``run`` and look at each arm; what is wrong with them is said by the pairs."""
    problem, photos = "", None
    try:
        photos = prepare(run)[1].photos if fitted_arms(run) else None
    except FarmError as error:
        problem = str(error)
    for arm, method in fitted_arms(run).items():
        assert method.fit is not None
        shots = 0 if photos is None else _wanted(run, method, photos)
        pool, steps = run.cluster.fit, method.fit.loop.steps
        pair = Pair(config, run.data.category, arm, pool, steps, shots, own_adapter(run, arm))
        if photos is None:
            yield Asked(pair, run, problem=problem)
            continue
        try:
            yield Asked(pair, run, training(run, photos, arm), is_current(run, photos, arm))
        except FarmError as error:
            yield Asked(pair, run, problem=str(error))


def _wanted(run: Run, method: Fittable, photos: PhotoSet) -> int:
    names = {defect.name for defect in method_defects(run, method)}
    return sum(defect_name(shot.defect or "") in names for shot in photos.shots)


def _train(board: Board, asked: dict[Pair, Asked], log: Log) -> None:
    import ray

    task = ray.remote(num_cpus=0, max_retries=MAX_FAILURES, scheduling_strategy="SPREAD")(_fit_pair)
    running: dict[Any, Pair] = {}
    said = time.perf_counter()
    _say(board, board.refuse(_nodes()), log)
    try:
        while board.pairs("waiting") or running:
            for pair in board.admit(_nodes()):
                running[task.remote(located(asked[pair].run).model_dump_json(), pair.arm)] = pair
                log(board.line(pair))
            if not running:
                _say(board, board.refuse(_nodes()), log)
                continue
            ended, _ = ray.wait(list(running), timeout=POLL_S)
            for ref in ended:
                pair = running.pop(ref)
                _end(board, asked[pair], ref, log)
            if running and time.perf_counter() - said > TABLE_S:
                for pair in running.values():
                    _tell(board, asked[pair], log)
                log(board.table())
                said = time.perf_counter()
    finally:
        for ref in running:
            ray.cancel(ref)


def _fit_pair(run_json: str, arm: str) -> None:
    """Look at the photographs, then train. A fault in them would cost each start of the workers else."""
    from farm.fitting.shots import load_shots

    run = parse(json.loads(run_json), "run")
    photos = load_photos(run.data)
    load_shots(run, photos, fitted_arms(run)[arm])
    fit_arm(run, photos, arm)


def _end(board: Board, one: Asked, ref: Any, log: Log) -> None:
    import ray

    _tell(board, one, log)
    try:
        ray.get(ref)
        card = json.loads(Store(own_adapter(one.run, one.pair.arm)).read(CARD))
        board.finish(one.pair, len(card["dataset"]["shots"]))
    except (ray.exceptions.RayError, FarmError, OSError) as error:
        raised = farm_error(error)
        if raised is not None:
            board.fail(one.pair, str(raised))
        else:
            log(str(error))  # with the traceback: a defect of ours, or of the cluster
            cause = list(below(error))[-1]
            board.fail(one.pair, f"{type(cause).__name__}: {cause}".strip().partition("\n")[0])
    log(board.line(one.pair))


def _tell(board: Board, one: Asked, log: Log) -> None:
    """Note the last point of the loss curve in the store, if there is one; a store that stumbles ends no training."""
    assert one.training is not None
    store, name = Store(one.training.folder), f"{one.training.name}_curve.json"
    try:
        curve = json.loads(store.read(name)) if store.exists(name) else []
    except (FarmError, OSError) as error:
        log(f"{board.name(one.pair)}: its loss curve cannot be read now: {error}")
        return
    if curve:
        board.tell(one.pair, int(curve[-1]["step"]), float(curve[-1]["loss"]))


def _keep_sums(board: Board, runs: Sequence[tuple[str, Run]], log: Log) -> None:
    """Let each run's folder know the checksums of its new adapters."""
    for config, run in runs:
        made = [pair for pair in board.pairs("done") if pair.config == config]
        try:
            if made:
                prepare(run)
        except FarmError as error:
            for pair in made:
                board.fail(pair, str(error))
            _say(board, made, log)


def _say(board: Board, pairs: Sequence[Pair], log: Log) -> None:
    for pair in pairs:
        log(board.line(pair))


def _nodes() -> list[Node]:
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(float(node.get("CPU", 0.0)), float(node.get("GPU", 0.0))) for node in alive]


def _folder(run: Run) -> str:
    root = Store(run.output).root
    return root if "://" in root else os.path.realpath(root)
