"""``farm fit``: an arm of a run learns on Ray Train, and leaves its adapter where the run's methods look for it.

The training's name holds the fingerprint of what it learns from, so a folder never goes on from another config's
checkpoint. The adapter is written by a task: a driver never imports torch.
"""

from pathlib import Path

from cluster.calls import Call, run_calls
from cluster.fit import Report, Training, fit
from farm.config import Run
from farm.datasets.photo import PhotoSet
from farm.fitting.adapters import fit_facts, fitted_arms, own_adapter
from farm.ids import fingerprint
from farm.store import Store

SHOWN = 4  # samples in the picture of each checkpoint


def training(run: Run, photos: PhotoSet, arm: str) -> Training:
    """The training of ``arm``, below its adapter's folder."""
    settings = fitted_arms(run)[arm].fit
    assert settings is not None
    return Training(
        name=f"{arm}-{fingerprint(fit_facts(run, photos, arm))}",
        build=Call("farm.fitting.build:build_task", {"run_json": located(run).model_dump_json(), "arm": arm}),
        loop=settings.loop,
        seed=run.seed,
        folder=f"{own_adapter(run, arm)}/fit",
        show=Call("farm.fitting.build:show_samples", {"count": SHOWN}),
        threads=run.compute.threads,
        device=run.compute.device,
    )


def located(run: Run) -> Run:
    """``run`` with absolute paths: Ray Train's workers have a working directory of their own."""
    root = None if run.data.root is None else str(Path(run.data.root).expanduser().absolute())
    path = Path(run.model.path).expanduser()
    model = str(path.absolute()) if path.is_dir() else run.model.path
    return run.model_copy(
        update={
            "output": Store(run.output).root,
            "data": run.data.model_copy(update={"root": root}),
            "model": run.model.model_copy(update={"path": model}),
        }
    )


def fit_arm(run: Run, photos: PhotoSet, arm: str, report: Report | None = None) -> None:
    """Train ``arm`` to its last step and write its adapter. Ray must be joined."""
    asked = training(run, photos, arm)
    fit(asked, run.cluster.fit, report)
    known = {**asked.build.arguments, "folder": asked.folder, "name": asked.name}
    run_calls([Call("farm.fitting.build:save_adapter", known)], run.cluster.fit.cpus)
