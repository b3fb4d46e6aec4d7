"""Files of pretrained models: read, fetched from the hub, named by their contents, and never a pickle.

A pickle can run code when it is opened, so only safetensors are loaded. No torch here: a driver that only needs the
name of a model loads no network.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from farm.errors import WeightsError

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_hub_id(text: str) -> bool:
    """Whether ``text`` has the shape of a hub id, ``owner/name``."""
    return _HUB_ID.fullmatch(text) is not None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from disk; ``WeightsError`` where the file is missing or is none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}); a model's folder has this file, copy the whole folder"
        ) from error
    except ValueError as error:
        raise WeightsError(f"{path}: is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise WeightsError(f"{path}: found {type(tree).__name__}; it must be a JSON object")
    return tree


def contents(folder: Path, files: Iterable[Path]) -> str:
    """16 hexadecimal characters over names below ``folder`` and bytes; read once a process unless they change."""
    stats = tuple((str(file.relative_to(folder)), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _hash(str(folder), stats)


@lru_cache(maxsize=16)
def _hash(folder: str, stats: tuple[tuple[str, int, int], ...]) -> str:
    whole = hashlib.blake2b(digest_size=8)
    for name, _, _ in stats:
        with (Path(folder) / name).open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").hexdigest()
        whole.update(f"{name} {content}\n".encode())
    return whole.hexdigest()


def safe_weights(folder: Path, names: Sequence[str], convert: str) -> Path:
    """The first of ``names`` that ``folder`` holds.

    Raises ``WeightsError`` where there is none; where there is a pickle instead, it says to ``convert`` it.
    """
    there = next((folder / name for name in names if (folder / name).is_file()), None)
    if there is not None:
        return there
    for path in sorted(folder.glob("*")):
        refuse_pickle(
            path, f"Take a revision of the model that has {names[0]}, or convert it where you trust it: {convert}"
        )
    raise WeightsError(f"{folder}: holds no {names[0]}; copy the whole folder of the model, of a revision that has it")


def refuse_pickle(path: Path, instead: str) -> None:
    """Raise ``WeightsError``, with what to do ``instead``, where ``path`` has the name of a pickle."""
    if path.suffix in PICKLES:
        raise WeightsError(
            f"{path}: weights are a pickle, which can run code when opened; only safetensors are loaded. {instead}"
        )


def fetch(hub_id: str, revision: str | None, wanted: Sequence[str], unwanted: Sequence[str], what: str) -> Path:
    """The local snapshot of ``wanted`` (patterns) of a hub model, downloaded where it is not cached.

    Raises ``WeightsError``, with ``what`` to give in its place, where the hub does not answer or knows no such model.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        return Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=list(wanted), ignore_patterns=list(unwanted))
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise WeightsError(
            f"{hub_id}: is no local folder and could not be fetched from the hub ({first_line(error)}); give the path "
            f"of {what}, or log in and connect once so that the files are cached"
        ) from error
    finally:
        if not silent:
            enable_progress_bars()


def first_line(error: Exception) -> str:
    """What an error of another library says first; the line after it too where it ends in a colon."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first


@contextmanager
def silenced(*libraries: Any) -> Iterator[None]:
    """Silence progress bars and load reports of libraries (their ``logging`` modules), and all warnings.

    What matters in them is checked and raised by the caller.
    """
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in libraries]
    for log in libraries:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, (verbosity, bars) in zip(libraries, before, strict=True):
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()
