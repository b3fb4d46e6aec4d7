"""Adds up what each phase asks of Ray, and refuses before anything starts.

Ray itself waits in silence for 30 minutes when actor pools together ask for more than there is. Everything that runs
at once in a phase counts, Ray's own tasks too: our Datasets start ``from_items`` (no read task), our own actors write,
Ray Train's controller and split coordinator ask for no CPU, and verdicts are settled by a task of one CPU.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farm.config import ClusterConfig, PoolConfig, Run
from farm.errors import ResourceError
from farm.fitting.adapters import fitted_arms

GIB = 2**30
Labels = tuple[tuple[str, str], ...]  # (name, value), sorted


@dataclass(frozen=True)
class Ask:
    """``count`` actors or tasks that run at once, each with ``cpus``, ``gpus`` and ``memory_gib``."""

    name: str
    count: int
    cpus: float
    gpus: float = 0.0
    memory_gib: float = 0.0
    setting: str = ""  # the config key that lowers it
    labels: Labels = ()  # of the nodes that it may run on; () = any


def ask(name: str, pool: PoolConfig) -> Ask:
    """What a pool of the config asks."""
    asked = (pool.actors, pool.cpus, pool.gpus, pool.memory_gib)
    return Ask(name, *asked, f"cluster.{name}", labels_of(pool))


def labels_of(pool: PoolConfig) -> Labels:
    """The labels that the nodes of a pool must have."""
    return tuple(sorted((pool.label_selector or {}).items()))


def label_sets(run: Run) -> list[Labels]:
    """Every choice of nodes that a phase makes: all of them first, then each set of labels that some pool names."""
    found = {one.labels for asks in phases(run).values() for one in asks}
    return [(), *sorted(found - {()})]


def phases(run: Run) -> dict[str, tuple[Ask, ...]]:
    """Phase → everything that runs at once in it."""
    c = run.cluster
    settle = Ask("settle", 1, 1.0)
    rules = (ask("train", c.train), ask("rules", c.rules))
    fits = {"fit": (ask("fit", c.fit),)} if fitted_arms(run) else {}
    return {
        **fits,
        "invert": (ask("invert", c.invert),),
        "generate": (ask("generate", c.generate), ask("embed", c.embed), ask("write", c.write)),
        "normals": (ask("embed", c.embed),),
        "judge": (ask("judge", c.judge), settle),
        "train": rules,
        "evaluate": (ask("evaluate", c.evaluate),),
    }


def check(run: Run, there: Callable[[Labels], dict[str, float]]) -> None:
    """Hold every phase against what is ``there`` on the nodes with given labels. Raises ``ResourceError``.

    ``there`` gives CPU, GPU and memory in all, and ``node_CPU`` ..., the most on one node.
    """
    complaints = [
        line
        for labels in label_sets(run)
        for phase, asks in phases(run).items()
        for line in _complaints(
            _on(phase, labels), [one for one in asks if set(labels) <= set(one.labels)], there(labels)
        )
    ]
    if complaints:
        raise ResourceError("\n".join(complaints))


def local_resources(cluster: ClusterConfig, labels: Labels = ()) -> dict[str, float]:
    """What a Ray started here would have, known before it starts. Its one node has no label."""
    cpus, gpus = float(cluster.num_cpus or os.cpu_count() or 1), float(cluster.num_gpus)
    cpus, gpus = (0.0, 0.0) if labels else (cpus, gpus)
    return {"CPU": cpus, "GPU": gpus, "node_CPU": cpus, "node_GPU": gpus}


def _on(phase: str, labels: Labels) -> str:
    return phase + "".join(f" on {name}={value}" for name, value in labels)


def _complaints(phase: str, asks: Sequence[Ask], there: dict[str, float]) -> list[str]:
    lines = []
    for resource, field, unit in (("CPU", "cpus", "CPUs"), ("GPU", "gpus", "GPUs"), ("memory", "memory_gib", "GiB")):
        if resource not in there:
            continue
        scale = GIB if resource == "memory" else 1
        parts = [(one, getattr(one, field)) for one in asks if getattr(one, field)]
        total, most = sum(one.count * each for one, each in parts), there[resource] / scale
        if total > most + 1e-9:
            terms = ", ".join(f"{one.name} {one.count} x {each:g}" for one, each in parts)
            largest = max(parts, key=lambda part: part[0].count * part[1])[0]
            lines.append(
                f"phase {phase} asks for {total:g} {unit} ({terms}); the cluster has {most:g}. "
                f"Lower {largest.setting or 'cluster'}.actors or .{field}, or add a node"
            )
        node = there.get(f"node_{resource}", there[resource]) / scale
        for one, each in parts:
            if total <= most + 1e-9 and each > node + 1e-9:
                lines.append(
                    f"phase {phase}: one {one.name} asks for {each:g} {unit}; the largest node has {node:g}. "
                    f"Lower {one.setting or 'cluster'}.{field}, or add a larger node"
                )
    return lines
