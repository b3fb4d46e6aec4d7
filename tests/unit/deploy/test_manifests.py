"""Every manifest under ``k8s/``, rendered: by KubeRay's definitions, Kubernetes' schemas, and all rules of ours."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cluster.manifests import Part, check, read_documents
from cluster.manifests.capacity import quantity
from cluster.manifests.parts import cluster_specs, groups, job_specs, pods, ray_container, ray_documents
from cluster.manifests.schema import check_schema
from jobs.cli import JOBS
from tests.kustomize import dump_all, render

ROOT = Path(__file__).resolve().parents[3]
CRDS = ROOT.parent / "shared" / "crds"
FOLDERS = [ROOT / "k8s" / "setup", *sorted((ROOT / "k8s" / "overlays").iterdir())]
COMPONENTS = sorted((ROOT / "k8s" / "components").iterdir())
KUBERNETES = "1.33"
NO_SCHEMA_HERE = {"ResourceFlavor", "ClusterQueue", "LocalQueue"}  # Kueue's own

needs_crds = pytest.mark.skipif(not CRDS.is_dir(), reason=f"KubeRay's definitions are not at {CRDS}")


def documents(folder: Path) -> list[Part]:
    return read_documents(dump_all(render(folder)), folder.name)


def with_component(component: Path, folder: Path) -> Path:
    """The kustomization of overlays/run with ``component`` switched on."""
    run = ROOT / "k8s" / "overlays" / "run"
    spec = yaml.safe_load((run / "kustomization.yaml").read_text())
    spec |= {"resources": [str(ROOT / "k8s" / "base")], "components": [str(component)]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(spec))
    (folder / "run.yaml").write_text((run / "run.yaml").read_text())
    return folder


def ray_objects() -> Iterator[tuple[str, Part]]:
    for folder in FOLDERS:
        yield from ((folder.name, document) for document in ray_documents(documents(folder)))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_manifests_break_no_rule(folder: Path) -> None:
    assert [str(finding) for finding in check(documents(folder))] == []


@needs_crds
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_manifests_are_what_kuberay_defines(folder: Path) -> None:
    found = [finding for document in ray_documents(documents(folder)) for finding in check_schema(document, CRDS)]
    assert [str(finding) for finding in found] == []


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda path: path.name)
def test_each_cloud_breaks_no_rule(component: Path, tmp_path: Path) -> None:
    found = documents(with_component(component, tmp_path))
    assert [str(finding) for finding in check(found, CRDS if CRDS.is_dir() else None)] == []
    (job,) = ray_documents(found)
    spot = [pod.tree for pod in pods(job) if "gpu-spot" in pod.where]
    assert [value for pod in spot for value in pod["nodeSelector"].values()] in (["spot"], ["true"])
    accounts = [part for part in found if part.tree["kind"] == "ServiceAccount"]
    assert all(len(account.part("metadata", "annotations").tree) == 1 for account in accounts)
    validate_all_builtin(found)


@lru_cache
def validate_builtin(manifest: str) -> None:
    kubernetes_validate.validate(json.loads(manifest), KUBERNETES, strict=True)


def validate_all_builtin(parts: list[Part]) -> None:
    for part in parts:
        if part not in ray_documents(parts) and part.tree["kind"] not in NO_SCHEMA_HERE:
            validate_builtin(json.dumps(part.tree))  # most overlays share most manifests


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_what_is_kubernetes_own_is_what_kubernetes_defines(folder: Path) -> None:
    validate_all_builtin(documents(folder))


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("NetworkPolicy", ["spec", "podSelectr"], {}),
        ("PodDisruptionBudget", ["spec", "minAvailable"], [1]),
        ("ServiceAccount", ["automountServiceAccountToken"], "no"),
    ],
)
def test_a_planted_error_in_kubernetes_own_is_found(kind: str, path: list[str], value: Any) -> None:
    (tree, *_) = [tree for tree in render(ROOT / "k8s" / "overlays" / "run") if tree["kind"] == kind]
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(tree, KUBERNETES, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_kustomize_itself_renders_the_same(folder: Path) -> None:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    theirs = sorted(yaml.safe_load_all(done.stdout), key=lambda tree: (tree["kind"], tree["metadata"]["name"]))
    assert theirs == render(folder)


def test_there_is_an_overlay_for_each_main_job() -> None:
    entries = {name: job.text("entrypoint") for name, one in ray_objects() for job in job_specs(one)}
    words = {name: entry.split() for name, entry in entries.items()}
    assert {name: said[1] for name, said in words.items()} == {
        name: {"kueue": "run", "nightly": "run", "fit": "fit-all"}.get(name, name)
        for name in ("run", "kueue", "nightly", "fit", "generate", "train", "evaluate")
    }
    assert all(said[0] == "farm" and said[1] in JOBS and said[2:] == [CONFIG] for said in words.values())


CONFIG = "/etc/defect-farm/run.yaml"


def test_versions_are_those_of_the_project() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for _, document in ray_objects():
        for cluster in cluster_specs(document):
            assert f"ray=={cluster.text('rayVersion')}\n" in lock
        images = {container.text("image") for pod in pods(document) for container in pod.each("containers")}
        assert images == {f"defect-farm:{version}-cuda"}


def test_every_try_continues_one_run_on_a_store_that_outlives_the_cluster() -> None:
    (document,) = [one for name, one in ray_objects() if name == "run"]
    (job,) = job_specs(document)
    (settings,) = [one for one in documents(ROOT / "k8s" / "overlays" / "run") if one.tree["kind"] == "ConfigMap"]
    output = yaml.safe_load(settings.part("data").text("run.yaml"))["output"]
    assert re.match(r"(s3|gs)://", output)
    assert job.number("backoffLimit") > 0
    assert "suspend" not in job.tree


def test_the_queued_job_has_a_fixed_size_and_its_queue_holds_it() -> None:
    found = documents(ROOT / "k8s" / "overlays" / "kueue")
    (document,) = ray_documents(found)
    (cluster,) = cluster_specs(document)
    (job,) = job_specs(document)
    workers = cluster.each("workerGroupSpecs")
    sizes = [(one.number("minReplicas"), one.number("replicas"), one.number("maxReplicas")) for one in workers]
    assert cluster.tree["enableInTreeAutoscaling"] is False
    assert sizes == [(2, 2, 2), (8, 8, 8), (2, 2, 2)]
    assert job.tree["suspend"] is True
    assert document.part("metadata", "labels").text("kueue.x-k8s.io/queue-name") == "defect-farm"
    counted = [(1, ray_container(cluster.part("headGroupSpec")))]
    counted += [(one.number("replicas"), ray_container(one)) for one in workers]
    counted += [(1, job.part("submitterPodTemplate", "spec").each("containers")[0])]
    asked = {
        name: sum(count * quantity(one.part("resources", "requests").tree.get(name, 0)) for count, one in counted)
        for name in ("cpu", "memory", "nvidia.com/gpu")
    }
    (queue,) = [one for one in found if one.tree["kind"] == "ClusterQueue"]
    flavor = queue.part("spec").tree["resourceGroups"][0]["flavors"][0]
    quotas = {one["name"]: quantity(one["nominalQuota"]) for one in flavor["resources"]}
    assert all(asked[name] <= quotas[name] < 1.05 * asked[name] for name in asked), (asked, quotas)


def test_all_pods_of_a_group_carry_what_the_policies_choose_by() -> None:
    (document,) = [one for name, one in ray_objects() if name == "run"]
    (job,) = job_specs(document)
    (cluster,) = cluster_specs(document)
    kinds = [
        group.part("template", "metadata", "labels").text("app.kubernetes.io/component") for group in groups(cluster)
    ]
    assert kinds == ["head", "worker", "worker", "worker"]
    labels = job.part("submitterPodTemplate", "metadata", "labels").tree
    assert labels["app.kubernetes.io/component"] == "submitter"


def test_taking_a_job_down_leaves_photographs_and_namespace() -> None:
    for folder in FOLDERS[1:]:
        assert not {"PersistentVolumeClaim", "Namespace"} & {part.tree["kind"] for part in documents(folder)}
