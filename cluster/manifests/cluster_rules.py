"""What the KubeRay operator (1.7) refuses in a Ray cluster although its schema allows it: one function a rule.

Each takes the spec of a RayCluster and gives findings; ``names`` and ``schedule`` take a whole manifest. After the
operator's ``controllers/ray/utils/validation.go``.
"""

import re
from collections.abc import Iterator

from cluster.manifests.parts import Finding, Part, autoscales, groups, ray_container, uses_autoscaler_v2

LONGEST_NAME = {"RayCluster": 53, "RayJob": 47, "RayService": 47, "RayCronJob": 36}  # what it makes adds its own words
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
TOKEN_SINCE, PRIORITY_SINCE = (2, 52), (2, 56)  # Ray versions
REDIS = ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME")
TLS = ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
V2 = "RAY_enable_autoscaler_v2"
START_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")


def replicas(cluster: Part) -> Iterator[Finding]:
    """The least is not above the most, nothing is below 0, and a cluster of fixed size names both."""
    for group in cluster.each("workerGroupSpecs"):
        least, most = group.number("minReplicas"), group.number("maxReplicas", 2**31 - 1)
        found = f"found minReplicas {least} and maxReplicas {most}"
        if least < 0 or most < 0 or least > most:
            right = "0 <= minReplicas <= maxReplicas"
            yield Finding("replicas", group.where, found, right, "Put the two numbers right")
        elif not autoscales(cluster) and not {"minReplicas", "maxReplicas"} <= group.tree.keys():
            yield Finding(
                *("replicas", group.where, "found no minReplicas or no maxReplicas"),
                *("both are needed where no autoscaler runs", "Set both to replicas"),
            )


def restart_policy(cluster: Part) -> Iterator[Finding]:
    """Autoscaler v2 replaces pods itself, so Kubernetes must not start them again; it is asked for in one place."""
    head = ray_container(cluster.part("headGroupSpec"))
    named = "version" in cluster.part("autoscalerOptions").tree
    if V2 in head.env() and (named or not autoscales(cluster)):
        other = "autoscalerOptions.version" if named else "enableInTreeAutoscaling: false"
        yield Finding(
            *("restart-policy", f"{head.where}.env[{V2}]", f"found beside {other}"),
            *("autoscaler v2 is asked for by autoscalerOptions.version", "Take the variable out"),
        )
    for group in groups(cluster) if uses_autoscaler_v2(cluster) else ():
        policy = group.part("template", "spec").text("restartPolicy")
        if policy not in ("", "Never"):
            yield Finding(
                *("restart-policy", f"{group.where}.template.spec.restartPolicy", f"found {policy}"),
                *("autoscaler v2 wants Never, or none", "Take it out"),
            )


def idle_timeout(cluster: Part) -> Iterator[Finding]:
    """Only autoscaler v2 knows a group's own idle time and priority."""
    for group in cluster.each("workerGroupSpecs"):
        if group.number("idleTimeoutSeconds") < 0:
            yield Finding(
                *("idle-timeout", f"{group.where}.idleTimeoutSeconds", f"found {group.tree['idleTimeoutSeconds']}"),
                *("it is 0 or more seconds", "Raise it"),
            )
        for key in ("idleTimeoutSeconds", "priority"):
            if group.tree.get(key) and not uses_autoscaler_v2(cluster):
                yield Finding(
                    *("idle-timeout", f"{group.where}.{key}", f"found {group.tree[key]} without autoscaler v2"),
                    *("only v2 knows it", "Set autoscalerOptions.version: v2, or take it out"),
                )
        if group.tree.get("priority") and _version(cluster) < PRIORITY_SINCE:
            yield Finding(
                *("idle-timeout", f"{group.where}.priority", f"found with rayVersion {cluster.text('rayVersion')!r}"),
                *("Ray knows it since 2.56", "Raise rayVersion and the image, or take it out"),
            )


def token_version(cluster: Part) -> Iterator[Finding]:
    """Token authentication needs a Ray that knows it, by the version that the manifest names."""
    options = cluster.part("authOptions")
    if options.text("mode") == "token" and _version(cluster) < TOKEN_SINCE:
        yield Finding(
            *("token-version", f"{cluster.where}.rayVersion", f"found {cluster.text('rayVersion')!r} with mode token"),
            *("Ray knows tokens since 2.52", "Name the image's Ray version, 2.52.0 or later"),
        )
    if options.tree.get("enableK8sTokenAuth") and (options.text("mode") != "token" or options.text("secretName")):
        yield Finding(
            *("token-version", options.where, "found enableK8sTokenAuth beside a secret or without mode token"),
            *("the cluster's own tokens replace the secret", "Set mode: token and no secretName"),
        )


def _version(cluster: Part) -> tuple[int, ...]:
    """(major, minor) of ``rayVersion``; (0,) where it names none."""
    found = re.match(r"v?(\d+)\.(\d+)", cluster.text("rayVersion"))
    return (int(found[1]), int(found[2])) if found else (0,)


def containers(cluster: Part) -> Iterator[Finding]:
    """Ray runs in the first container of each group, so there is one."""
    for group in groups(cluster):
        if not group.part("template", "spec").tree.get("containers"):
            yield Finding(
                *("containers", f"{group.where}.template.spec.containers", "found none"),
                *("Ray runs in the first container", "Add the container of the image"),
            )


def managed_env(cluster: Part) -> Iterator[Finding]:
    """What the operator sets itself is not set by hand."""
    fault_tolerant = bool(cluster.part("gcsFaultToleranceOptions").tree)
    with_tls = cluster.part("tlsOptions").tree.get("enabled") is True
    for group in groups(cluster):
        container, is_head = ray_container(group), group.where.endswith("headGroupSpec")
        redis = [name for name in REDIS if is_head and (name != "REDIS_PASSWORD" or fault_tolerant)]
        for name in (*redis, *(TLS if with_tls else ())):
            if name in container.env():
                option = "tlsOptions" if name in TLS else "gcsFaultToleranceOptions"
                yield Finding(
                    *("managed-env", f"{container.where}.env[{name}]", "found set by hand"),
                    *(f"the operator sets it from {option}", f"Take it out, and use {option}"),
                )


def start_params(cluster: Part) -> Iterator[Finding]:
    """Labels and resources of a group stand in one place, and labels are ones that Kubernetes would take."""
    for group in groups(cluster):
        params = group.part("rayStartParams")
        if "labels" in params.tree:
            yield Finding(
                *("start-params", f"{params.where}.labels", "found labels as a start parameter"),
                *("labels stand in the group's own field", "Move them to labels of the group"),
            )
        twice = [key for key in START_RESOURCES if key in params.tree] if group.tree.get("resources") else []
        if twice:
            yield Finding(
                *("start-params", params.where, f"found {', '.join(twice)} beside the group's resources"),
                *("resources stand in one place", "Keep one of the two"),
            )
        for key, value in group.part("labels").tree.items():
            if not (LABEL.fullmatch(str(value)) and LABEL.fullmatch(str(key).rpartition("/")[2])):
                yield Finding(
                    *("start-params", f"{group.where}.labels", f"found {key!r}: {value!r}"),
                    *("at most 63 letters, digits, - _ and . , the ends alphanumeric", "Rename it"),
                )


def names(document: Part) -> Iterator[Finding]:
    """Names leave room for what the operator adds, and can be names of services."""
    name, longest = document.part("metadata").text("name"), LONGEST_NAME.get(document.tree["kind"])
    if longest is not None and (len(name) > longest or not DNS_1035.fullmatch(name)):
        yield Finding(
            *("names", f"{document.where} metadata.name", f"found {name!r} ({len(name)} characters)"),
            *(f"at most {longest} of a-z, 0-9 and -, a letter first, no - at the end", "Choose a shorter, plain name"),
        )


def schedule(document: Part) -> Iterator[Finding]:
    """A cron job's time has five fields or a nickname, and its zone a field of its own."""
    if document.tree["kind"] != "RayCronJob":
        return
    spec = document.part("spec")
    text = spec.text("schedule")
    if "TZ" in text or not (text.startswith("@") or len(text.split()) == 5):
        yield Finding(
            *("schedule", f"{spec.where}.schedule", f"found {text!r}"),
            *("five fields (minute hour day month weekday), no TZ", "Write '0 2 * * *', and the zone as timeZone"),
        )


CLUSTER_RULES = (
    replicas,
    restart_policy,
    idle_timeout,
    token_version,
    containers,
    managed_env,
    start_params,
)
DOCUMENT_RULES = (names, schedule)
