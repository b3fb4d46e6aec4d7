"""Functions named by their place, so that a driver can ask workers to run what it never imports itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from cluster.causes import plain
from farm.config import PoolConfig
from farm.errors import ResourceError


@dataclass(frozen=True)
class Call:
    """A function as ``"package.module:name"`` with its keyword arguments, which must pickle."""

    place: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, *first: Any) -> Any:
        """Import the function and call it; ``first`` goes before the keyword arguments."""
        module, name = self.place.split(":")
        return getattr(import_module(module), name)(*first, **self.arguments)


def run_calls(calls: Sequence[Call], cpus: float, report: Callable[[int], None] | None = None) -> None:
    """Run ``calls`` as Ray tasks with ``cpus`` each, in any order. Ray must be joined.

    ``report`` gets the number of calls that have ended. A task that dies is run again, so a call must bear that.
    A ``FarmError`` is raised as itself; ``ResourceError`` where no node has ``cpus``.
    """
    import ray

    check_pool("task", PoolConfig(cpus=cpus))
    task = ray.remote(num_cpus=cpus)(_run_call)
    waiting = [task.remote(call) for call in calls]
    with plain():
        try:
            while waiting:
                done, waiting = ray.wait(waiting)
                ray.get(done)
                if report is not None:
                    report(len(calls) - len(waiting))
        except ray.exceptions.RayTaskError:
            for one in waiting:
                ray.cancel(one)
            raise


def check_pool(name: str, pool: PoolConfig) -> None:
    """Raise ``ResourceError`` where the joined cluster cannot hold ``pool``; Ray itself would wait in silence."""
    from cluster.resources import labels_of
    from cluster.session import available

    there = available(labels_of(pool))
    for resource, each in (("CPU", pool.cpus), ("GPU", pool.gpus)):
        node = there[f"node_{resource}"]
        if each > node or pool.actors * each > there[resource]:
            raise ResourceError(
                f"{name} asks for {pool.actors} x {each:g} {resource}s; the cluster has {there[resource]:g}, "
                f"the largest node {node:g}. Ask for fewer workers or fewer {resource}s each, or add a node"
            )


def _run_call(call: Call) -> None:
    call()
