"""The only way in: YAML file + ``a.b=c`` overrides -> ``Run``, or ``ConfigError`` that lists every wrong setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from farm.config.run import Run
from farm.errors import ConfigError


def load(path: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Read ``path``, apply ``a.b=c`` overrides, validate. Raises ``ConfigError`` listing every wrong setting."""
    where = Path(path)
    try:
        tree = yaml.safe_load(where.read_text())
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); give the path of a YAML config") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: found {type(tree).__name__} at the top; a config is a mapping of settings")
    for override in overrides:
        _override(tree, override)
    return parse(tree, str(where))


def parse(tree: dict[str, Any], where: str) -> Run:
    """Validate a tree of settings that came from ``where``."""
    try:
        return Run.model_validate(tree)
    except ValidationError as error:
        lines = [_line(detail) for detail in error.errors(include_url=False)]
        raise ConfigError(f"{where}: {len(lines)} setting(s) are wrong\n" + "\n".join(lines)) from error


def dump(run: Run) -> str:
    """The resolved settings as YAML: every key, defaults included."""
    return yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, width=100)


def _override(tree: dict[str, Any], text: str) -> None:
    keys, found, value = text.partition("=")
    if not found or not all(keys.split(".")):
        raise ConfigError(f"--set {text}: must be a.b=value, e.g. --set train.stage1.steps=100")
    node: Any = tree
    *parents, last = keys.split(".")
    for key in parents:
        node = _child(node, key, text)
    parsed = yaml.safe_load(value)
    if isinstance(node, list):
        node[_index(node, last, text)] = parsed
    elif isinstance(node, dict):
        node[last] = parsed
    else:
        raise ConfigError(f"--set {text}: '{'.'.join(parents)}' holds {node!r}, which has no settings inside")


def _child(node: Any, key: str, text: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, text)]
    if isinstance(node, dict):
        if node.get(key) is None:
            node[key] = {}
        return node[key]
    raise ConfigError(f"--set {text}: nothing can be set inside {node!r}")


def _index(node: list[Any], key: str, text: str) -> int:
    if not key.isdigit() or int(key) >= len(node):
        raise ConfigError(f"--set {text}: '{key}' is not an index of a list of {len(node)}; use 0 to {len(node) - 1}")
    return int(key)


def _line(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "(top)"
    found = detail.get("input")
    shown = repr(found) if isinstance(found, str | int | float | bool | type(None)) else type(found).__name__
    return f"  {place}: {detail['msg']} (got {shown})"
