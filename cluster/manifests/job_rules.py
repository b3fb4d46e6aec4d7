"""What the KubeRay operator (1.7) refuses in a RayJob although its schema allows it: one function a rule.

Each takes the spec of a RayJob and gives findings. After the operator's ``controllers/ray/utils/validation.go``.
"""

from collections.abc import Iterator
from itertools import pairwise

from cluster.manifests.parts import Finding, Part, autoscales

MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
SEVERITY = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")  # what is deleted first must not outlive the next
CONDITIONS = ("jobStatus", "jobDeploymentStatus")


def submission_mode(job: Part) -> Iterator[Finding]:
    """The mode is one of four: the schema takes any text."""
    mode = job.tree.get("submissionMode", MODES[0])
    if mode not in MODES:
        yield Finding(
            *("submission-mode", f"{job.where}.submissionMode", f"found {mode!r}"),
            *(f"it is one of {', '.join(MODES)}", "Write one of them, or leave it out for K8sJobMode"),
        )


def one_way_of_deletion(job: Part) -> Iterator[Finding]:
    """Deletion rules exclude the shutdown flag and the older policies; a TTL needs the flag."""
    shutdown, ttl = job.tree.get("shutdownAfterJobFinishes") is True, job.number("ttlSecondsAfterFinished")
    strategy = job.part("deletionStrategy")
    if strategy.tree.get("deletionRules") and (shutdown or ttl):
        yield Finding(
            *("one-way-of-deletion", strategy.where, "found deletionRules beside shutdownAfterJobFinishes or its TTL"),
            *("only one of the two may say when a cluster goes", "Keep the rules, and take the other fields out"),
        )
    elif ttl and not shutdown:
        yield Finding(
            *("one-way-of-deletion", f"{job.where}.ttlSecondsAfterFinished", f"found {ttl} without a shutdown"),
            *("a TTL needs shutdownAfterJobFinishes: true", "Set it, or use deletionStrategy.deletionRules"),
        )
    older = [key for key in ("onSuccess", "onFailure") if key in strategy.tree]
    if strategy.tree.get("deletionRules") and older:
        yield Finding(
            *("one-way-of-deletion", strategy.where, f"found deletionRules beside {' and '.join(older)}"),
            *("the older policies exclude the rules", "Write them as rules"),
        )


def workers_kept_by_the_autoscaler(job: Part) -> Iterator[Finding]:
    """No rule deletes the workers alone where an autoscaler would start them again."""
    if not autoscales(job.part("rayClusterSpec")):
        return
    for rule in job.part("deletionStrategy").each("deletionRules"):
        if rule.tree.get("policy") == "DeleteWorkers":
            yield Finding(
                *("workers-kept-by-the-autoscaler", rule.where, "found DeleteWorkers with enableInTreeAutoscaling"),
                *("the operator refuses the two together", "Use DeleteCluster, or a group's idleTimeoutSeconds"),
            )


def deletion_conditions(job: Part) -> Iterator[Finding]:
    """A rule has one condition, stands once, and what is worse is never deleted earlier."""
    seen: dict[tuple[str, str], dict[str, int]] = {}
    for rule in job.part("deletionStrategy").each("deletionRules"):
        condition, policy = rule.part("condition"), rule.text("policy")
        given = [name for name in CONDITIONS if name in condition.tree]
        if len(given) != 1:
            yield Finding(
                *("deletion-conditions", condition.where, f"found {' and '.join(given) or 'no condition'}"),
                *("exactly one of jobStatus and jobDeploymentStatus", "Split the rule in two, or name one"),
            )
            continue
        times = seen.setdefault((given[0], condition.text(given[0])), {})
        if policy in times:
            yield Finding(
                *("deletion-conditions", rule.where, f"found {policy} a second time for {condition.text(given[0])}"),
                *("each policy once for each state", "Take one of the two out"),
            )
        times.setdefault(policy, condition.number("ttlSeconds"))
    yield from _times_in_order(job.part("deletionStrategy"), seen)


def _times_in_order(strategy: Part, seen: dict[tuple[str, str], dict[str, int]]) -> Iterator[Finding]:
    for (_, state), times in seen.items():
        steps = [(policy, times[policy]) for policy in SEVERITY if policy in times]
        for (before, early), (after, late) in pairwise(steps):
            if late < early:
                yield Finding(
                    *(
                        "deletion-conditions",
                        strategy.where,
                        f"found {after} after {late} s and {before} after {early} s",
                    ),
                    *(f"for {state}, {after} must not come before {before}", "Raise the later one's ttlSeconds"),
                )


def suspension(job: Part) -> Iterator[Finding]:
    """A queue suspends a job by deleting its cluster, so the job must own one and let it go."""
    if job.tree.get("suspend") is not True:
        return
    if job.tree.get("shutdownAfterJobFinishes") is not True:
        yield Finding(
            *("suspension", f"{job.where}.suspend", "found suspend without shutdownAfterJobFinishes"),
            *("a job that is suspended deletes its cluster", "Set shutdownAfterJobFinishes: true (not deletionRules)"),
        )
    if job.tree.get("clusterSelector"):
        yield Finding(
            *("suspension", f"{job.where}.suspend", "found suspend beside clusterSelector"),
            *("a cluster of others cannot be suspended", "Give the job its own rayClusterSpec"),
        )


def sidecar(job: Part) -> Iterator[Finding]:
    """A submitter inside the head pod has no pod of its own to set, and must not be started again."""
    if job.tree.get("submissionMode") != "SidecarMode":
        return
    for key in ("submitterPodTemplate", "submitterConfig", "clusterSelector"):
        if job.tree.get(key):
            yield Finding(
                *("sidecar", f"{job.where}.{key}", "found beside SidecarMode"),
                *("the submitter is a container of the head pod", f"Take {key} out, or use K8sJobMode"),
            )
    head = job.part("rayClusterSpec", "headGroupSpec", "template", "spec")
    if head.text("restartPolicy") not in ("", "Never"):
        yield Finding(
            *("sidecar", f"{head.where}.restartPolicy", f"found {head.text('restartPolicy')}"),
            *("SidecarMode wants Never, or none", "Take it out"),
        )


def retries(job: Part) -> Iterator[Finding]:
    """A job that a person submits, or that runs on a cluster of others, is not tried again."""
    limit = job.number("backoffLimit")
    why = "InteractiveMode" if job.tree.get("submissionMode") == "InteractiveMode" else ""
    why = "clusterSelector" if job.tree.get("clusterSelector") else why
    if why and limit > 0:
        yield Finding(
            *("retries", f"{job.where}.backoffLimit", f"found {limit} with {why}"),
            *("each try would need a new cluster", "Take backoffLimit out, or give the job its own cluster"),
        )
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if key in job.tree and job.number(key) <= 0:
            yield Finding(
                *("retries", f"{job.where}.{key}", f"found {job.tree[key]}"),
                *("a deadline is a whole number of seconds above 0", "Raise it, or take it out"),
            )
    if limit < 0:
        yield Finding(
            *("retries", f"{job.where}.backoffLimit", f"found {limit}"),
            *("a number of tries is 0 or more", "Raise it"),
        )


def one_cluster(job: Part) -> Iterator[Finding]:
    """A job has a cluster of its own or names one."""
    if "rayClusterSpec" not in job.tree and not job.tree.get("clusterSelector"):
        yield Finding(
            *("one-cluster", job.where, "found neither rayClusterSpec nor clusterSelector"),
            *("a job runs on a cluster", "Give one of the two"),
        )


JOB_RULES = (
    submission_mode,
    one_way_of_deletion,
    workers_kept_by_the_autoscaler,
    deletion_conditions,
    suspension,
    sidecar,
    retries,
    one_cluster,
)
