"""Ray's manifests against KubeRay's own definitions (CRDs), strictly: a name that no schema knows is an error.

``kubectl apply --dry-run=client`` does not read a CRD at all, and the API server drops unknown names in silence.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from cluster.manifests.parts import GROUP, Finding, Part
from farm.errors import ConfigError

LONGEST = 120  # characters of a message
KEPT_OPEN = ("apiVersion", "kind", "metadata")


def check_schema(document: Part, crds: Path) -> Iterator[Finding]:
    """Every difference of one of KubeRay's manifests to its definition among the files in the folder ``crds``."""
    group, _, version = document.text("apiVersion").partition("/")
    validator = _validators(crds).get((document.tree["kind"], version))
    if group != GROUP.rstrip("/"):
        return
    if validator is None:
        known = ", ".join(sorted(f"{kind} {name}" for kind, name in _validators(crds)))
        yield Finding(
            *("schema", document.where, f"found {document.text('apiVersion')} {document.tree['kind']}"),
            *(f"the definitions know {known}", "Write one of these"),
        )
        return
    for error in sorted(validator.iter_errors(document.tree), key=lambda one: one.json_path):
        message = error.message if len(error.message) <= LONGEST else f"{error.message[-LONGEST:]}"
        place = error.json_path.removeprefix("$.")
        right = f"the definition wants {error.validator}: {str(error.validator_value)[:LONGEST]}"
        yield Finding("schema", f"{document.where} {place}", f"found {message}", right, "Correct it")


@lru_cache(maxsize=4)
def _validators(crds: Path) -> dict[tuple[str, str], Draft202012Validator]:
    found: dict[tuple[str, str], Draft202012Validator] = {}
    for path in sorted(crds.glob("*.yaml")):
        with path.open("rb") as file:
            definition = yaml.load(file, Loader=yaml.CSafeLoader)  # a megabyte: the C loader takes 0.3 s, not ten
        for version in definition["spec"]["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"].update(dict.fromkeys(KEPT_OPEN, True))
            found[definition["spec"]["names"]["kind"], version["name"]] = Draft202012Validator(schema)
    if not found:
        raise ConfigError(f"{crds}: holds no definition; give the folder of KubeRay's CRDs (ray.io_rayjobs.yaml, ...)")
    return found


def strict(node: Any) -> Any:
    """An OpenAPI schema of Kubernetes as JSON Schema: unknown names refused, Kubernetes' own words translated."""
    if isinstance(node, list):
        return [strict(child) for child in node]
    if not isinstance(node, dict):
        return node
    named = node.get("properties")
    out = {key: strict(value) for key, value in node.items() if key not in ("properties", "default", "format")}
    if isinstance(named, dict):
        out["properties"] = {name: strict(child) for name, child in named.items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
        given = {name for name, child in named.items() if "default" in child}
        out["required"] = [name for name in node.get("required", ()) if name not in given]
    if node.get("x-kubernetes-int-or-string"):
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if node.get("nullable") and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out
