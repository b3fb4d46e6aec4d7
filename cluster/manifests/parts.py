"""Kubernetes manifests as plain trees, each piece with the place where it stands, so that a finding can name it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from farm.errors import ConfigError

Tree = dict[str, Any]
GROUP = "ray.io/"  # the API group of KubeRay's kinds
CONTAINERS = ("containers", "initContainers")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a manifest. ``rule`` names the check; ``todo`` says how to mend it."""

    rule: str
    where: str
    found: str
    right: str
    todo: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; {self.right}. {self.todo} [{self.rule}]"


@dataclass(frozen=True)
class Part:
    """A mapping inside a manifest. ``where`` is its place: ``RayJob/farm spec.rayClusterSpec``."""

    where: str
    tree: Tree

    def part(self, *keys: str) -> "Part":
        """The mapping under ``keys``; an empty one where there is none."""
        tree: Any = self.tree
        for key in keys:
            tree = tree.get(key) if isinstance(tree, dict) else None
        joint = " " if " " not in self.where else "."
        return Part(f"{self.where}{joint}{'.'.join(keys)}", tree if isinstance(tree, dict) else {})

    def each(self, key: str) -> list["Part"]:
        """The mappings of the list under ``key``, by their own names where they have some."""
        joint = " " if " " not in self.where else "."
        rows = [row for row in self.tree.get(key) or [] if isinstance(row, dict)]
        names = [row.get("groupName") or row.get("name") or number for number, row in enumerate(rows)]
        return [Part(f"{self.where}{joint}{key}[{name}]", row) for name, row in zip(names, rows, strict=True)]

    def text(self, key: str) -> str:
        """The value of ``key`` as text; "" where it is not set."""
        value = self.tree.get(key)
        return "" if value is None else str(value)

    def number(self, key: str, default: int = 0) -> int:
        """The value of ``key`` where it is a whole number, else ``default``: schemas speak of wrong types."""
        value = self.tree.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def env(self) -> dict[str, Tree]:
        """A container's environment by name."""
        return {str(row.tree.get("name")): row.tree for row in self.each("env")}


def read_documents(data: bytes | str, where: str) -> list[Part]:
    """The manifests of a YAML stream, empty documents left out. Raises ``ConfigError`` for what holds no manifest."""
    try:
        trees = [tree for tree in yaml.load_all(data, Loader=yaml.CSafeLoader) if tree is not None]
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is not YAML: {error}") from error
    for number, tree in enumerate(trees):
        if not isinstance(tree, dict) or not {"apiVersion", "kind", "metadata"} <= tree.keys():
            raise ConfigError(
                f"{where}: document {number + 1} is no manifest (it needs apiVersion, kind and metadata). "
                "Give rendered manifests: kubectl kustomize FOLDER | farm check-manifests -"
            )
    return [Part(f"{tree['kind']}/{tree['metadata'].get('name', '')}", tree) for tree in trees]


def ray_documents(documents: Iterable[Part]) -> list[Part]:
    """The manifests of KubeRay's kinds."""
    return [document for document in documents if document.text("apiVersion").startswith(GROUP)]


def job_specs(document: Part) -> Iterator[Part]:
    """The RayJob spec of a RayJob or RayCronJob."""
    if document.tree["kind"] == "RayJob":
        yield document.part("spec")
    if document.tree["kind"] == "RayCronJob":
        yield document.part("spec", "jobTemplate")


def cluster_specs(document: Part) -> Iterator[Part]:
    """The RayCluster spec of any kind that has one."""
    if document.tree["kind"] == "RayCluster":
        yield document.part("spec")
    if document.tree["kind"] == "RayService":
        yield document.part("spec", "rayClusterConfig")
    for job in job_specs(document):
        if "rayClusterSpec" in job.tree:
            yield job.part("rayClusterSpec")


def groups(cluster: Part) -> list[Part]:
    """The head group and every worker group."""
    return [cluster.part("headGroupSpec"), *cluster.each("workerGroupSpecs")]


def pods(document: Part) -> Iterator[Part]:
    """Every pod spec: of head, workers and submitter."""
    for cluster in cluster_specs(document):
        yield from (group.part("template", "spec") for group in groups(cluster))
    for job in job_specs(document):
        if "submitterPodTemplate" in job.tree:
            yield job.part("submitterPodTemplate", "spec")


def ray_container(group: Part) -> Part:
    """The container in which Ray runs: the first one. An empty part where there is none."""
    return next(iter(group.part("template", "spec").each("containers")), Part(group.where, {}))


def autoscales(cluster: Part) -> bool:
    """Whether Ray's autoscaler runs beside the head."""
    return cluster.tree.get("enableInTreeAutoscaling") is True


def uses_autoscaler_v2(cluster: Part) -> bool:
    """Whether that autoscaler is v2, by the field or by the head's environment."""
    named = cluster.part("autoscalerOptions").text("version") == "v2"
    by_env = str(ray_container(cluster.part("headGroupSpec")).env().get("RAY_enable_autoscaler_v2", {}).get("value"))
    return autoscales(cluster) and (named or by_env in ("1", "true"))
