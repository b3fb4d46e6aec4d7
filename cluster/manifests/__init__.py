"""Kubernetes manifests of Ray held against what schemas, the KubeRay operator, security and a run's config ask.

Takes rendered manifests (``kubectl kustomize FOLDER``), needs no cluster and imports no Ray.
"""

from collections.abc import Sequence
from pathlib import Path

from cluster.manifests.capacity import check_capacity
from cluster.manifests.cluster_rules import CLUSTER_RULES, DOCUMENT_RULES
from cluster.manifests.job_rules import JOB_RULES
from cluster.manifests.parts import Finding, Part, cluster_specs, job_specs, ray_documents, read_documents
from cluster.manifests.schema import check_schema
from cluster.manifests.security_rules import SECURITY_RULES, default_deny

__all__ = ["Finding", "Part", "check", "read_documents"]


def check(documents: Sequence[Part], crds: Path | None = None) -> list[Finding]:
    """All that is wrong with ``documents``; by schema too where ``crds`` is a folder of KubeRay's definitions."""
    found: list[Finding] = []
    for document in ray_documents(documents):
        found += check_schema(document, crds) if crds is not None else ()
        found += [finding for rule in (*DOCUMENT_RULES, *SECURITY_RULES) for finding in rule(document)]
        found += [finding for job in job_specs(document) for rule in JOB_RULES for finding in rule(job)]
        found += [finding for spec in cluster_specs(document) for rule in CLUSTER_RULES for finding in rule(spec)]
    return [*found, *default_deny(documents), *check_capacity(documents)]
