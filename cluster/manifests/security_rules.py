"""What we ask of manifests beyond what any operator refuses: one function a rule.

Ray runs whatever it is sent, so a cluster without a token is a shell for all who reach it, and what its pods may do is
what anyone may do who got in. The pods' rules are Kubernetes' "restricted" profile with a read-only root beside it.
"""

import re
from collections.abc import Iterable, Iterator

from cluster.manifests.parts import (
    CONTAINERS,
    Finding,
    Part,
    autoscales,
    cluster_specs,
    pods,
    ray_documents,
)

SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY|CREDENTIAL")
WRITABLE = "/tmp"  # Ray's sessions, logs and spilled objects are below it


def token_required(document: Part) -> Iterator[Finding]:
    """Ray asks for a token; without ``authOptions`` its pods start with authentication off."""
    for cluster in cluster_specs(document):
        if cluster.part("authOptions").text("mode") != "token":
            yield Finding(
                *("token-required", f"{cluster.where}.authOptions.mode", "found no token"),
                *("whoever reaches Ray's ports can run code", "Set authOptions: {mode: token}"),
            )


def locked_down(document: Part) -> Iterator[Finding]:
    """No container is root, gains rights, keeps capabilities, or writes outside its volumes."""
    for pod in pods(document):
        for container in _containers(pod):
            context = {**pod.part("securityContext").tree, **container.part("securityContext").tree}
            dropped = (context.get("capabilities") or {}).get("drop") or []
            wanted = {
                "runAsNonRoot: true": context.get("runAsNonRoot") is True and context.get("runAsUser") != 0,
                "allowPrivilegeEscalation: false": context.get("allowPrivilegeEscalation") is False,
                "readOnlyRootFilesystem: true": context.get("readOnlyRootFilesystem") is True,
                "capabilities: {drop: [ALL]}": "ALL" in dropped and not context["capabilities"].get("add"),
                "seccompProfile: {type: RuntimeDefault}": (context.get("seccompProfile") or {}).get("type")
                == "RuntimeDefault",
            }
            for setting, kept in wanted.items():
                if not kept:
                    yield Finding(
                        *("locked-down", f"{container.where}.securityContext", f"found no {setting}"),
                        *("a container has no more rights than it needs", f"Set {setting}"),
                    )


def writable_places(document: Part) -> Iterator[Finding]:
    """Where the root is read-only, Ray still finds its temporary folder."""
    for pod in pods(document):
        empty = {volume.text("name") for volume in pod.each("volumes") if "emptyDir" in volume.tree}
        for container in pod.each("containers"):
            mounts = {m.text("mountPath"): m.text("name") for m in container.each("volumeMounts")}
            if mounts.get(WRITABLE) not in empty:
                yield Finding(
                    *("writable-places", f"{container.where}.volumeMounts", f"found no emptyDir at {WRITABLE}"),
                    *("Ray keeps sessions and spilled objects there", f"Mount an emptyDir at {WRITABLE}"),
                )


def account_tokens(document: Part) -> Iterator[Finding]:
    """A pod has a Kubernetes token only where the autoscaler needs one: on the head."""
    needing = {f"{c.where}.headGroupSpec.template.spec" for c in cluster_specs(document) if autoscales(c)}
    for pod in pods(document):
        if pod.where not in needing and pod.tree.get("automountServiceAccountToken") is not False:
            yield Finding(
                *("account-tokens", f"{pod.where}.automountServiceAccountToken", "found not false"),
                *("only an autoscaling head speaks to Kubernetes", "Set automountServiceAccountToken: false"),
            )


def secrets_by_reference(document: Part) -> Iterator[Finding]:
    """Credentials come from a Secret, never as text in a manifest."""
    for pod in pods(document):
        for container in _containers(pod):
            for name, variable in container.env().items():
                if SECRET_NAME.search(name) and variable.get("value"):
                    yield Finding(
                        *("secrets-by-reference", f"{container.where}.env[{name}]", "found its value as text"),
                        *("a manifest is read by many", "Use valueFrom.secretKeyRef, envFrom or the account's role"),
                    )


def pinned_images(document: Part) -> Iterator[Finding]:
    """An image is named by a version or a digest."""
    for pod in pods(document):
        for container in _containers(pod):
            image = container.text("image")
            tag = image.rpartition("/")[2].partition(":")[2]
            if "@sha256:" not in image and tag in ("", "latest"):
                yield Finding(
                    *("pinned-images", f"{container.where}.image", f"found {image!r}"),
                    *("a retry must run the same code", "Name a version, or better a digest (@sha256:...)"),
                )


def sized_containers(document: Part) -> Iterator[Finding]:
    """Ray sizes a node by its container's limits: memory asked for is memory given, and whole CPUs."""
    for pod in pods(document):
        for container in pod.each("containers"):
            asked, limit = container.part("resources", "requests").tree, container.part("resources", "limits").tree
            if not {"cpu", "memory"} <= asked.keys() or asked.get("memory") != limit.get("memory"):
                yield Finding(
                    *("sized-containers", f"{container.where}.resources", f"found requests {asked}, limits {limit}"),
                    *(
                        "memory beyond a request is the first to be taken away",
                        "Ask for cpu and memory; limit = request",
                    ),
                )


def idle_head(document: Part) -> Iterator[Finding]:
    """No actor runs on the head: one that fills its memory would end the whole job."""
    for cluster in cluster_specs(document):
        head = cluster.part("headGroupSpec")
        if head.part("rayStartParams").text("num-cpus") != "0" and head.part("resources").text("CPU") != "0":
            yield Finding(
                *("idle-head", f"{head.where}.rayStartParams.num-cpus", "found not '0'"),
                *("the head carries driver and Ray's own services", "Set num-cpus: '0'"),
            )


def default_deny(documents: Iterable[Part]) -> Iterator[Finding]:
    """Beside Ray's manifests stands a policy that denies all traffic which no other policy allows."""
    documents = list(documents)
    for document in documents:
        spec = document.part("spec").tree
        everything = document.tree["kind"] == "NetworkPolicy" and spec.get("podSelector") == {}
        if everything and {"Ingress", "Egress"} <= set(spec.get("policyTypes") or ()):
            return
    for document in ray_documents(documents)[:1]:
        yield Finding(
            *("default-deny", document.where, "found no NetworkPolicy that denies all ingress and egress"),
            *("Ray's ports are open to every pod otherwise", "Add one with podSelector: {} and no rules"),
        )


def _containers(pod: Part) -> list[Part]:
    return [container for key in CONTAINERS for container in pod.each(key)]


SECURITY_RULES = (
    token_required,
    locked_down,
    writable_places,
    account_tokens,
    secrets_by_reference,
    pinned_images,
    sized_containers,
    idle_head,
)
