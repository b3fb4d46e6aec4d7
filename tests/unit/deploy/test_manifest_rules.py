"""A planted error for each rule that manifests are held against: found, by the rule that it breaks, in words."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from cluster.manifests import Finding, check, read_documents
from farm.errors import ConfigError
from tests.kustomize import dump_all, render

ROOT = Path(__file__).resolve().parents[3]
CRDS = ROOT.parent / "shared" / "crds"
HEAD = "/spec/rayClusterSpec/headGroupSpec"
GPU = "/spec/rayClusterSpec/workerGroupSpecs/0"
SPOT = "/spec/rayClusterSpec/workerGroupSpecs/1"
RULES = "/spec/deletionStrategy/deletionRules"
KUEUE = "kueue"

Patch = list[dict[str, Any]]


def put(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def drop(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def rule(policy: str, seconds: int, **condition: str) -> dict[str, Any]:
    return {"policy": policy, "condition": {"ttlSeconds": seconds, **condition}}


def findings(patch: Patch, overlay: str = "run", crds: Path | None = None) -> list[Finding]:
    """What is wrong with an overlay whose Ray manifest was changed by ``patch``."""
    trees = render(ROOT / "k8s" / "overlays" / overlay)
    (ray,) = [tree for tree in trees if tree["apiVersion"].startswith("ray.io/")]
    jsonpatch.apply_patch(ray, patch, in_place=True)
    return check(read_documents(dump_all(trees), overlay), crds)


PLANTED: dict[str, tuple[str, Patch, str]] = {
    "mode_misspelt": (
        "submission-mode",
        [put("/spec/submissionMode", "K8sjobMode")],
        "RayJob/defect-farm spec.submissionMode: found 'K8sjobMode'; it is one of K8sJobMode, HTTPMode, "
        "InteractiveMode, SidecarMode. Write one of them, or leave it out for K8sJobMode [submission-mode]",
    ),
    "rules_beside_shutdown": (
        "one-way-of-deletion",
        [put("/spec/shutdownAfterJobFinishes", True)],
        "found deletionRules beside shutdownAfterJobFinishes or its TTL; only one of the two may say",
    ),
    "rules_beside_older_policies": (
        "one-way-of-deletion",
        [put("/spec/deletionStrategy/onSuccess", {"policy": "DeleteCluster"})],
        "found deletionRules beside onSuccess",
    ),
    "ttl_without_shutdown": (
        "one-way-of-deletion",
        [drop("/spec/deletionStrategy"), put("/spec/ttlSecondsAfterFinished", 60)],
        "found 60 without a shutdown; a TTL needs shutdownAfterJobFinishes: true",
    ),
    "workers_deleted_under_the_autoscaler": (
        "workers-kept-by-the-autoscaler",
        [put(f"{RULES}/0", rule("DeleteWorkers", 0, jobStatus="SUCCEEDED"))],
        "found DeleteWorkers with enableInTreeAutoscaling",
    ),
    "two_conditions": (
        "deletion-conditions",
        [put(f"{RULES}/0/condition/jobDeploymentStatus", "Failed")],
        "deletionRules[0].condition: found jobStatus and jobDeploymentStatus; exactly one",
    ),
    "no_condition": (
        "deletion-conditions",
        [drop(f"{RULES}/0/condition/jobStatus")],
        "found no condition; exactly one of jobStatus and jobDeploymentStatus",
    ),
    "a_rule_twice": (
        "deletion-conditions",
        [put(f"{RULES}/-", rule("DeleteCluster", 90, jobStatus="SUCCEEDED"))],
        "found DeleteCluster a second time for SUCCEEDED",
    ),
    "worse_before_better": (
        "deletion-conditions",
        [put(f"{RULES}/3/condition/ttlSeconds", 5)],
        "found DeleteSelf after 5 s and DeleteCluster after 60 s; for SUCCEEDED, DeleteSelf must not come before",
    ),
    "suspended_without_shutdown": (
        "suspension",
        [put("/spec/suspend", True)],
        "found suspend without shutdownAfterJobFinishes",
    ),
    "suspended_on_a_cluster_of_others": (
        "suspension",
        [put("/spec/suspend", True), put("/spec/clusterSelector", {"ray.io/cluster": "a"})],
        "found suspend beside clusterSelector",
    ),
    "least_above_most": (
        "replicas",
        [put(f"{SPOT}/minReplicas", 9)],
        "workerGroupSpecs[gpu-spot]: found minReplicas 9 and maxReplicas 8; 0 <= minReplicas <= maxReplicas",
    ),
    "fewer_than_none": (
        "replicas",
        [put(f"{SPOT}/minReplicas", -1)],
        "found minReplicas -1",
    ),
    "fixed_size_unsaid": (
        "replicas",
        [put("/spec/rayClusterSpec/enableInTreeAutoscaling", False), drop(f"{SPOT}/minReplicas")],
        "found no minReplicas or no maxReplicas; both are needed where no autoscaler runs",
    ),
    "sidecar_with_a_pod": (
        "sidecar",
        [put("/spec/submissionMode", "SidecarMode")],
        "spec.submitterPodTemplate: found beside SidecarMode",
    ),
    "sidecar_restarted": (
        "sidecar",
        [put("/spec/submissionMode", "SidecarMode"), put(f"{HEAD}/template/spec/restartPolicy", "Always")],
        "headGroupSpec.template.spec.restartPolicy: found Always; SidecarMode wants Never",
    ),
    "v2_restarted": (
        "restart-policy",
        [put(f"{GPU}/template/spec/restartPolicy", "OnFailure")],
        "workerGroupSpecs[gpu].template.spec.restartPolicy: found OnFailure; autoscaler v2 wants Never",
    ),
    "v2_asked_for_twice": (
        "restart-policy",
        [put(f"{HEAD}/template/spec/containers/0/env/-", {"name": "RAY_enable_autoscaler_v2", "value": "1"})],
        "env[RAY_enable_autoscaler_v2]: found beside autoscalerOptions.version",
    ),
    "idle_time_without_v2": (
        "idle-timeout",
        [put("/spec/rayClusterSpec/autoscalerOptions/version", "v1")],
        "workerGroupSpecs[gpu].idleTimeoutSeconds: found 600 without autoscaler v2",
    ),
    "priority_before_its_time": (
        "idle-timeout",
        [put(f"{GPU}/priority", 5), put("/spec/rayClusterSpec/rayVersion", "2.55.1")],
        "found with rayVersion '2.55.1'; Ray knows it since 2.56",
    ),
    "token_before_its_time": (
        "token-version",
        [put("/spec/rayClusterSpec/rayVersion", "2.51.1")],
        "rayVersion: found '2.51.1' with mode token; Ray knows tokens since 2.52",
    ),
    "token_for_no_version": (
        "token-version",
        [drop("/spec/rayClusterSpec/rayVersion")],
        "rayVersion: found '' with mode token",
    ),
    "two_kinds_of_token": (
        "token-version",
        [put("/spec/rayClusterSpec/authOptions", {"mode": "disabled", "enableK8sTokenAuth": True})],
        "found enableK8sTokenAuth beside a secret or without mode token",
    ),
    "retried_by_hand": (
        "retries",
        [put("/spec/submissionMode", "InteractiveMode")],
        "spec.backoffLimit: found 3 with InteractiveMode; each try would need a new cluster",
    ),
    "retried_on_a_cluster_of_others": (
        "retries",
        [put("/spec/clusterSelector", {"ray.io/cluster": "a"})],
        "spec.backoffLimit: found 3 with clusterSelector",
    ),
    "no_time_at_all": (
        "retries",
        [put("/spec/activeDeadlineSeconds", 0)],
        "spec.activeDeadlineSeconds: found 0; a deadline is a whole number of seconds above 0",
    ),
    "name_too_long": (
        "names",
        [put("/metadata/name", "f" * 48)],
        "(48 characters); at most 47 of a-z, 0-9 and -",
    ),
    "name_no_service_may_have": (
        "names",
        [put("/metadata/name", "1_farm")],
        "metadata.name: found '1_farm' (6 characters)",
    ),
    "no_container": (
        "containers",
        [put(f"{GPU}/template/spec/containers", [])],
        "workerGroupSpecs[gpu].template.spec.containers: found none; Ray runs in the first container",
    ),
    "redis_by_hand": (
        "managed-env",
        [put(f"{HEAD}/template/spec/containers/0/env/-", {"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"})],
        "env[RAY_REDIS_ADDRESS]: found set by hand; the operator sets it from gcsFaultToleranceOptions",
    ),
    "tls_by_hand": (
        "managed-env",
        [
            put("/spec/rayClusterSpec/tlsOptions", {"enabled": True}),
            put(f"{GPU}/template/spec/containers/0/env/-", {"name": "RAY_USE_TLS", "value": "1"}),
        ],
        "env[RAY_USE_TLS]: found set by hand; the operator sets it from tlsOptions",
    ),
    "labels_in_the_wrong_place": (
        "start-params",
        [put(f"{GPU}/rayStartParams/labels", "pool=gpu")],
        "rayStartParams.labels: found labels as a start parameter",
    ),
    "resources_in_two_places": (
        "start-params",
        [put(f"{GPU}/rayStartParams/num-cpus", "4"), put(f"{GPU}/resources", {"CPU": "4"})],
        "rayStartParams: found num-cpus beside the group's resources",
    ),
    "a_label_that_is_none": (
        "start-params",
        [put(f"{GPU}/labels/zone", "a b")],
        "found 'zone': 'a b'",
    ),
    "no_cluster": (
        "one-cluster",
        [drop("/spec/rayClusterSpec")],
        "found neither rayClusterSpec nor clusterSelector",
    ),
    "no_token": (
        "token-required",
        [drop("/spec/rayClusterSpec/authOptions")],
        "authOptions.mode: found no token; whoever reaches Ray's ports can run code. Set authOptions: {mode: token}",
    ),
    "root": (
        "locked-down",
        [put(f"{GPU}/template/spec/securityContext/runAsNonRoot", False)],
        "containers[ray-worker].securityContext: found no runAsNonRoot: true",
    ),
    "root_by_number": (
        "locked-down",
        [put(f"{GPU}/template/spec/securityContext/runAsUser", 0)],
        "found no runAsNonRoot: true",
    ),
    "writable_root": (
        "locked-down",
        [drop(f"{GPU}/template/spec/containers/0/securityContext/readOnlyRootFilesystem")],
        "found no readOnlyRootFilesystem: true",
    ),
    "rights_gained": (
        "locked-down",
        [put("/spec/submitterPodTemplate/spec/containers/0/securityContext/allowPrivilegeEscalation", True)],
        "submitterPodTemplate.spec.containers[ray-job-submitter].securityContext: found no allowPrivilegeEscalation",
    ),
    "capability_kept": (
        "locked-down",
        [put(f"{HEAD}/template/spec/containers/0/securityContext/capabilities/add", ["SYS_PTRACE"])],
        "found no capabilities: {drop: [ALL]}",
    ),
    "no_seccomp": (
        "locked-down",
        [drop(f"{HEAD}/template/spec/securityContext/seccompProfile")],
        "found no seccompProfile: {type: RuntimeDefault}",
    ),
    "nowhere_to_write": (
        "writable-places",
        [drop(f"{GPU}/template/spec/containers/0/volumeMounts/0")],
        "found no emptyDir at /tmp; Ray keeps sessions and spilled objects there",
    ),
    "a_token_for_a_worker": (
        "account-tokens",
        [drop(f"{SPOT}/template/spec/automountServiceAccountToken")],
        "workerGroupSpecs[gpu-spot].template.spec.automountServiceAccountToken: found not false",
    ),
    "a_secret_as_text": (
        "secrets-by-reference",
        [put(f"{GPU}/template/spec/containers/0/env/-", {"name": "AWS_SECRET_ACCESS_KEY", "value": "x"})],
        "env[AWS_SECRET_ACCESS_KEY]: found its value as text; a manifest is read by many",
    ),
    "an_image_of_any_day": (
        "pinned-images",
        [put(f"{GPU}/template/spec/containers/0/image", "registry:5000/defect-farm")],
        "containers[ray-worker].image: found 'registry:5000/defect-farm'",
    ),
    "memory_beyond_the_request": (
        "sized-containers",
        [put(f"{GPU}/template/spec/containers/0/resources/limits/memory", "30Gi")],
        "memory beyond a request is the first to be taken away",
    ),
    "work_on_the_head": (
        "idle-head",
        [drop(f"{HEAD}/rayStartParams/num-cpus")],
        "headGroupSpec.rayStartParams.num-cpus: found not '0'",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_found(name: str) -> None:
    broken, patch, text = PLANTED[name]
    said = [str(finding) for finding in findings(patch) if finding.rule == broken]
    assert any(text in line for line in said), said


def test_every_rule_has_a_planted_error() -> None:
    from cluster.manifests.cluster_rules import CLUSTER_RULES, DOCUMENT_RULES
    from cluster.manifests.job_rules import JOB_RULES
    from cluster.manifests.security_rules import SECURITY_RULES

    rules = {one.__name__.replace("_", "-") for one in (*CLUSTER_RULES, *DOCUMENT_RULES, *JOB_RULES, *SECURITY_RULES)}
    assert rules == {broken for broken, _, _ in PLANTED.values()} | {"schedule"}


def test_a_cron_job_is_held_to_the_rules_of_its_template_and_its_own() -> None:
    wrong = [put("/spec/schedule", "TZ=Asia/Tokyo 0 1 * * *"), put("/spec/jobTemplate/submissionMode", "Sidecar")]
    found = findings(wrong, "nightly")
    assert [finding.rule for finding in found] == ["schedule", "submission-mode"]
    assert "spec.jobTemplate.submissionMode: found 'Sidecar'" in str(found[1])
    assert [one.rule for one in findings([put("/metadata/name", "f" * 37)], "nightly")] == ["names"]


def test_a_queued_job_without_its_shutdown_is_found() -> None:
    assert [one.rule for one in findings([drop("/spec/shutdownAfterJobFinishes")], KUEUE)] == [
        *("one-way-of-deletion", "suspension")
    ]


def test_without_a_policy_that_denies_everything_the_ports_are_open() -> None:
    trees = [
        tree for tree in render(ROOT / "k8s" / "overlays" / "run") if not tree["metadata"]["name"].endswith("deny")
    ]
    (found,) = check(read_documents(dump_all(trees), "run"))
    assert str(found).startswith(
        "RayJob/defect-farm: found no NetworkPolicy that denies all ingress and egress; Ray's ports are open"
    )


CAPACITY: dict[str, tuple[dict[str, Any], str]] = {
    "more_actors_than_the_least_nodes": (
        {"generate": {"actors": 3, "max_actors": 8, "cpus": 3, "gpus": 1, "labels": "pool=gpu-spot"}},
        "found by minReplicas: phase generate on pool=gpu-spot asks for 3 GPUs (generate 3 x 1); the cluster has 2.",
    ),
    "more_actors_than_the_most_nodes": (
        {"generate": {"actors": 2, "max_actors": 9, "cpus": 3, "gpus": 1, "labels": "pool=gpu-spot"}},
        "found by maxReplicas: phase generate on pool=gpu-spot asks for 9 GPUs",
    ),
    "an_actor_larger_than_a_node": (
        {"judge": {"actors": 1, "cpus": 9, "labels": "pool=cpu"}},
        "phase judge: one judge asks for 9 CPUs; the largest node has 8",
    ),
    "labels_that_no_node_has": (
        {"write": {"actors": 1, "cpus": 0.5, "labels": "pool=writers"}},
        "phase generate on pool=writers asks for 0.5 CPUs (write 1 x 0.5); the cluster has 0.",
    ),
    "gpus_that_nobody_asks_for": (
        {"generate": {"actors": 2, "max_actors": 6, "cpus": 3, "gpus": 1, "labels": "pool=gpu-spot"},
         "invert": {"actors": 2, "max_actors": 6, "cpus": 2, "gpus": 1, "labels": "pool=gpu-spot"}},
        "workerGroupSpecs[gpu-spot]: found 8 GPUs at most; no phase asks for more than 6 there",
    ),
    "a_ray_of_its_own": ({"address": None}, "found no cluster.address in /etc/defect-farm/run.yaml"),
    "a_setting_that_is_none": ({"generate": {"actorz": 2}}, "cluster.generate.actorz: Extra inputs are not permitted"),
}  # fmt: skip


@pytest.mark.parametrize("name", CAPACITY)
def test_worker_groups_that_do_not_fit_the_config_are_found(name: str) -> None:
    settings, text = CAPACITY[name]
    trees = render(ROOT / "k8s" / "overlays" / "run")
    (data,) = [tree["data"] for tree in trees if tree["kind"] == "ConfigMap"]
    config = yaml.safe_load(data["run.yaml"])
    config["cluster"] |= settings
    data["run.yaml"] = yaml.safe_dump(config)
    said = [str(one) for one in check(read_documents(dump_all(trees), "run")) if one.rule == "capacity"]
    assert any(text in line for line in said), said


def test_a_smaller_group_is_found_from_the_other_side() -> None:
    said = [str(one) for one in findings([put(f"{SPOT}/maxReplicas", 7)])]
    assert ["on pool=gpu-spot asks for 8 GPUs" in line and "the cluster has 7" in line for line in said] == [
        *(False, True, True)  # generate and embed together, then invert and generate on their own nodes
    ]


SCHEMA = {
    "a_name_misspelt": ([put("/spec/backoffLimt", 3)], "'backoffLimt' was unexpected"),
    "a_number_for_a_text": ([put(f"{GPU}/rayStartParams/num-gpus", 1)], "found 1 is not of type 'string'"),
    "deep_in_a_pod": (
        [put(f"{GPU}/template/spec/containers/0/imagePullPolcy", "Always")],
        "'imagePullPolcy' was unexp",
    ),
    "no_such_policy": ([put(f"{RULES}/0/policy", "DeleteAll")], "found 'DeleteAll' is not one of"),
    "something_missing": ([drop(HEAD)], "'headGroupSpec' is a required property"),
    "no_such_version": ([put("/apiVersion", "ray.io/v2")], "found ray.io/v2 RayJob; the definitions know"),
}


@pytest.mark.skipif(not CRDS.is_dir(), reason=f"KubeRay's definitions are not at {CRDS}")
@pytest.mark.parametrize("name", SCHEMA)
def test_what_kuberay_does_not_define_is_found(name: str) -> None:
    patch, text = SCHEMA[name]
    said = [str(one) for one in findings(patch, crds=CRDS) if one.rule == "schema"]
    assert any(text in line for line in said), said


def test_a_folder_without_definitions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no definition; give the folder of KubeRay's CRDs"):
        findings([], crds=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "is not YAML"), ("a: 1", "document 1 is no manifest"), ("- 1", "no man")]
)
def test_what_is_no_manifest_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^here: .*{said}"):
        read_documents(text, "here")


def farm(*arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "jobs.check_manifests", *arguments]
    return subprocess.run(command, input=given, capture_output=True, cwd=ROOT, check=False)


def test_the_command_reads_what_kustomize_prints_and_exits_1_for_a_finding() -> None:
    trees = render(ROOT / "k8s" / "overlays" / "run")
    good = farm("-", given=dump_all(trees))
    assert (good.returncode, good.stdout) == (0, b"12 manifests, nothing wrong\n")
    (ray,) = [tree for tree in trees if tree["kind"] == "RayJob"]
    ray["spec"]["submissionMode"] = "K8sjobMode"
    bad = farm("-", given=dump_all(trees))
    assert bad.returncode == 1
    assert bad.stdout.startswith(b"RayJob/defect-farm spec.submissionMode: found 'K8sjobMode'")
    wrong = farm("-", given=b"a: 1")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(b"farm: <stdin>: document 1 is no manifest")
