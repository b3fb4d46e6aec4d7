"""As much of kustomize as ``k8s/`` uses, so that a machine without ``kubectl`` renders it too.

Resources, components, JSON6902 patches, a ConfigMap of files, namespace, labels, images and replacements of a whole
subtree, in kustomize's order. Anything else in a kustomization.yaml is an error here, not a silent difference;
``test_manifests.py`` compares with ``kubectl kustomize`` where there is one.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

Tree = dict[str, Any]
KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator", "generatorOptions"}
KNOWN |= {"patches", "labels", "images", "replacements"}
LOCAL = "config.kubernetes.io/local-config"


def render(folder: Path) -> list[Tree]:
    """The manifests of the kustomization in ``folder``, ordered by kind and name; yours to change."""
    return [_copy(tree) for tree in _rendered(folder)]


def dump_all(trees: list[Tree]) -> bytes:
    """The manifests as one YAML stream."""
    return b"".join(b"---\n" + yaml.dump(tree, Dumper=yaml.CSafeDumper, encoding="utf-8") for tree in trees)


@lru_cache
def _rendered(folder: Path) -> list[Tree]:
    found = [tree for tree in _build(folder, []) if tree["metadata"].get("annotations", {}).get(LOCAL) != "true"]
    return sorted(found, key=lambda tree: (tree["kind"], tree["metadata"]["name"]))


def _build(folder: Path, trees: list[Tree]) -> list[Tree]:
    spec = yaml.load((folder / "kustomization.yaml").read_bytes(), yaml.CSafeLoader)
    assert spec.keys() <= KNOWN, f"{folder}: {sorted(spec.keys() - KNOWN)} are not known to tests/kustomize.py"
    for name in spec.get("resources", ()):
        trees = trees + (_build(folder / name, []) if (folder / name).is_dir() else _read(folder / name))
    for name in spec.get("components", ()):
        trees = _build(folder / name, trees)
    trees = trees + [_config_map(folder, one) for one in spec.get("configMapGenerator", ())]
    for patch in spec.get("patches", ()):
        chosen = [tree for tree in trees if _matches(tree, patch["target"])]
        assert chosen, f"{folder}: no manifest matches {patch['target']}"
        for tree in chosen:
            jsonpatch.apply_patch(tree, yaml.load(patch["patch"], yaml.CSafeLoader), in_place=True)
    for tree in trees:
        _stamp(tree, spec)
    for one in spec.get("replacements", ()):
        _replace(trees, one)
    return trees


def _read(path: Path) -> list[Tree]:
    """Each document in values of its own: what YAML's anchors share must not be patched twice."""
    return [_copy(tree) for tree in yaml.load_all(path.read_bytes(), yaml.CSafeLoader) if tree is not None]


def _copy(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copy(value) for key, value in node.items()}
    return [_copy(value) for value in node] if isinstance(node, list) else node


def _config_map(folder: Path, spec: Tree) -> Tree:
    data = {name: (folder / name).read_text() for name in spec["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": spec["name"]}, "data": data}


def _matches(tree: Tree, target: Tree) -> bool:
    return tree["kind"] == target["kind"] and target.get("name") in (None, tree["metadata"]["name"])


def _stamp(tree: Tree, spec: Tree) -> None:
    if "namespace" in spec:
        tree["metadata"]["namespace"] = spec["namespace"]
    for one in spec.get("labels", ()):
        tree["metadata"].setdefault("labels", {}).update(one["pairs"])
    for image in spec.get("images", ()):
        _set_image(tree, image)


def _set_image(node: Any, image: Tree) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("image"), str) and node["image"].partition(":")[0] == image["name"]:
            node["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        _set_image(child, image)


def _replace(trees: list[Tree], spec: Tree) -> None:
    (value,) = [tree for tree in trees if _matches(tree, spec["source"])]
    for key in spec["source"]["fieldPath"].split("."):
        value = value[key]
    for target in spec["targets"]:
        (node,) = [tree for tree in trees if _matches(tree, target["select"])]
        for path in target["fieldPaths"]:
            *keys, last = path.split(".")
            inner = node
            for key in keys:
                inner = inner[key]
            inner[last] = _copy(value)
