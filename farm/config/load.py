"""The only way in: YAML file + ``a.b=c`` overrides -> ``Run``, or ``ConfigError`` that lists every wrong setting."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from farm.config.run import Run
from farm.errors import ConfigError

LARGEST_BYTES = 64 * 1024  # of a config; ours have three thousand
MOST_SETTINGS = 100_000  # with aliases written out
SHOWN = 80  # characters of a value that a message repeats


def load(path: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Read ``path``, apply ``a.b=c`` overrides, validate. Raises ``ConfigError`` listing every wrong setting."""
    where = Path(path)
    try:
        with where.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); give the path of a YAML config") from error
    if len(data) > LARGEST_BYTES:
        raise ConfigError(
            f"{where}: is larger than {LARGEST_BYTES // 1024} KB, so it is no config; give the path of a YAML config"
        )
    tree = read_yaml(data, str(where))
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: found {type(tree).__name__} at the top; a config is a mapping of settings")
    for text in overrides:
        override(tree, text)
    return parse(tree, str(where))


def read_yaml(data: bytes | str, where: str) -> Any:
    """Plain values (mappings, lists, texts, numbers) of YAML that came from ``where``; no tag makes an object.

    Raises ``ConfigError`` for what is not YAML, a setting that is given twice, and aliases that stand for too much.
    """
    try:
        loader = yaml.SafeLoader(data)
        node = loader.get_single_node()
        size = 0.0 if node is None else _size(node, {})
        if size > MOST_SETTINGS:
            many = "no end of" if math.isinf(size) else f"more than {MOST_SETTINGS}"
            raise ConfigError(f"{where}: its aliases stand for {many} values; write out what they stand for")
        _hold_keys(node, where, set())
        return None if node is None else loader.construct_document(node)
    except ConfigError:
        raise
    except Exception as error:  # a reader of any text meets any text: all that it raises means that it is not a config
        said = str(error) if isinstance(error, yaml.YAMLError) else f"{type(error).__name__}: {error}"
        raise ConfigError(f"{where}: is not YAML: {said}") from error


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


def override(tree: dict[str, Any], text: str) -> None:
    """Change ``tree`` by ``text``, an ``a.b=c``; ``ConfigError`` where there is no such place."""
    keys, found, value = text.partition("=")
    if not found or not all(keys.split(".")):
        raise ConfigError(f"--set {text}: must be a.b=value, e.g. --set train.stage1.steps=100")
    node: Any = tree
    *parents, last = keys.split(".")
    for key in parents:
        node = _child(node, key, text)
    parsed = read_yaml(value, f"--set {text[:SHOWN]}")
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


def _size(node: Any, known: dict[int, float]) -> float:
    """How many values ``node`` stands for with its aliases written out; infinite for one that holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until what is inside is counted
        known[id(node)] = 1 + sum(_size(child, known) for child in _children(node))
    return known[id(node)]


def _children(node: Any) -> Iterator[Any]:
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        yield from child if isinstance(child, tuple) else (child,)


def _hold_keys(node: Any, where: str, seen: set[int]) -> None:
    """Raise ``ConfigError`` for a key that stands twice in one mapping: YAML would silently take the last."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    keys = [key.value for key, _ in node.value if key.value != "<<"] if isinstance(node, yaml.MappingNode) else []
    twice = next((key for key in keys if isinstance(key, str) and keys.count(key) > 1), None)
    if twice is not None:
        place = f"line {node.start_mark.line + 1}"
        raise ConfigError(f"{where}: '{twice[:SHOWN]}' is set twice in the mapping from {place}; leave one out")
    for child in _children(node):
        _hold_keys(child, where, seen)


def _line(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "(top)"
    found = detail.get("input")
    shown = repr(found) if isinstance(found, str | int | float | bool | type(None)) else type(found).__name__
    return f"  {place}: {detail['msg']} (got {shown if len(shown) <= SHOWN else shown[:SHOWN] + ' ...'})"
