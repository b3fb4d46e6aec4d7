"""A Ray cluster in a manifest against the ``cluster:`` settings of the config that its job runs.

Ray counts a node by its container: CPUs and GPUs by the limits (KubeRay rounds a share of a CPU up), memory by the
limit. The farm counts what is there before each phase and refuses to wait for more, so ``minReplicas`` must hold the
``actors`` of every phase, ``maxReplicas`` their ``max_actors``, and a GPU that no phase asks for is money for nothing.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Literal

from cluster import resources
from cluster.manifests.parts import Finding, Part, autoscales, job_specs, ray_container
from farm.config import ClusterConfig, PoolConfig, Run
from farm.config.load import parse, read_yaml
from farm.errors import FarmError

_SUFFIXES = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SUFFIXES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True)
class Group:
    """Equal nodes: how many at least and at most, and what Ray counts on each."""

    name: str
    least: int
    most: int
    cpus: float
    gpus: float
    memory: float  # bytes
    labels: frozenset[tuple[str, str]]


def check_capacity(documents: Iterable[Part]) -> Iterator[Finding]:
    """Every job whose config is among the manifests, in the ConfigMap that its head mounts, against that config."""
    documents = list(documents)
    maps = {d.part("metadata").text("name"): d.part("data").tree for d in documents if d.tree["kind"] == "ConfigMap"}
    for document in documents:
        for job in job_specs(document):
            for place, text in _configs(job, maps):
                yield from _against(job.part("rayClusterSpec"), place, text)


def _configs(job: Part, maps: dict[str, dict[str, str]]) -> Iterator[tuple[str, str]]:
    """(mounted path, text) of each config that the entry point names, where the head mounts it from ``maps``."""
    head = job.part("rayClusterSpec", "headGroupSpec")
    volumes = {v.text("name"): v.part("configMap").text("name") for v in head.part("template", "spec").each("volumes")}
    for mount in ray_container(head).each("volumeMounts"):
        files = maps.get(volumes.get(mount.text("name"), ""), {})
        for name, text in files.items():
            path = str(PurePosixPath(mount.text("mountPath")) / name)
            if path in job.text("entrypoint").split():
                yield path, text


def _against(cluster: Part, place: str, text: str) -> Iterator[Finding]:
    try:
        run = parse(read_yaml(text, place), place)
    except FarmError as error:
        yield Finding("capacity", cluster.where, f"found {error}", f"the job runs {place}", "Correct the config")
        return
    groups = [_group(group, autoscales(cluster)) for group in cluster.each("workerGroupSpecs")]
    yield from _refused(run, cluster, groups, "least")
    yield from _refused(at_most(run), cluster, groups, "most")
    yield from _idle(at_most(run), cluster, groups)
    if run.cluster.address is None:
        yield Finding(
            *("capacity", cluster.where, f"found no cluster.address in {place}"),
            *("the driver would start a Ray of its own on the head", "Set cluster.address: auto"),
        )


def _idle(run: Run, cluster: Part, groups: list[Group]) -> Iterator[Finding]:
    """GPUs that would be paid for and never asked for."""
    phases = resources.phases(run).values()
    for group in groups:
        here = [[one for one in asks if set(one.labels) <= group.labels] for asks in phases]
        asked, most = max(sum(one.count * one.gpus for one in asks) for asks in here), group.most * group.gpus
        if most > asked:
            yield Finding(
                *("capacity", f"{cluster.where}.workerGroupSpecs[{group.name}]", f"found {most:g} GPUs at most"),
                *(f"no phase asks for more than {asked:g} there", "Lower maxReplicas, or raise max_actors"),
            )


def _refused(run: Run, cluster: Part, groups: list[Group], number: Literal["least", "most"]) -> Iterator[Finding]:
    field = {"least": "minReplicas", "most": "maxReplicas"}[number]
    counted = [(getattr(group, number), group) for group in groups]
    try:
        resources.check(run, partial(there, counted))
    except FarmError as error:
        for line in str(error).splitlines():
            where = f"{cluster.where}.workerGroupSpecs"
            yield Finding(
                "capacity", where, f"found by {field}: {line}", "a phase waits for no node", f"Or raise {field}"
            )


def there(counted: Iterable[tuple[int, Group]], labels: resources.Labels = ()) -> dict[str, float]:
    """What so many nodes of each group have in all, and the most that one has (``node_CPU`` ...), as Ray counts."""
    groups = [(count, group) for count, group in counted if count > 0 and group.labels.issuperset(labels)]
    fields = {"CPU": "cpus", "GPU": "gpus", "memory": "memory"}
    total = {name: sum(count * getattr(group, field) for count, group in groups) for name, field in fields.items()}
    node = {f"node_{name}": max((getattr(g, field) for _, g in groups), default=0.0) for name, field in fields.items()}
    return {**total, **node}


def at_most(run: Run) -> Run:
    """``run`` with every pool as large as it may grow."""
    pools = {name: getattr(run.cluster, name) for name in ClusterConfig.model_fields}
    grown = {
        name: pool.model_copy(update={"actors": pool.max_actors or pool.actors})
        for name, pool in pools.items()
        if isinstance(pool, PoolConfig)
    }
    return run.model_copy(update={"cluster": run.cluster.model_copy(update=grown)})


def _group(group: Part, growing: bool) -> Group:
    limits, params = ray_container(group).part("resources", "limits").tree, group.part("rayStartParams")
    gpus = sum(quantity(value) for name, value in limits.items() if name.endswith("gpu"))
    cpus = float(params.text("num-cpus") or math.ceil(quantity(limits.get("cpu", 0))))
    hosts, fixed = group.number("numOfHosts", 1), group.number("replicas")
    labels = frozenset((str(key), str(value)) for key, value in group.part("labels").tree.items())
    one = Group(group.text("groupName"), fixed, fixed, cpus, gpus, quantity(limits.get("memory", 0)), labels)
    if growing:
        one = replace(one, least=max(fixed, group.number("minReplicas")), most=group.number("maxReplicas"))
    return replace(one, least=hosts * one.least, most=hosts * one.most)


def quantity(value: object) -> float:
    """A quantity of Kubernetes as a number: ``500m`` is 0.5, ``2Gi`` is 2 ** 31."""
    text = str(value)
    digits = text.rstrip("mkMGTKi")
    return float(digits) * _SUFFIXES[text[len(digits) :]]
