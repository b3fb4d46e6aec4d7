"""``farm doctor``: what this machine offers a run, and what is missing; exit 1 where a run could not start."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from jobs.cli import emit, run_command

GIB = 2**30


@click.command("doctor", help="Say what this machine offers, and what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(as_json: bool) -> None:
    """Python, packages, weights, memory, disk, GPUs; each line says what to do where it is not well."""
    checks = [_check(name, test) for name, test in CHECKS.items()]
    lines = [f"{'ok' if check['ok'] else 'PROBLEM':<8}{check['name']:<18}{check['found']}" for check in checks]
    emit(checks, as_json, "\n".join(lines))
    if not all(check["ok"] for check in checks):
        sys.exit(1)


def _check(name: str, test: Callable[[], tuple[bool, str]]) -> dict[str, Any]:
    ok, found = test()
    return {"name": name, "ok": ok, "found": found}


def _python() -> tuple[bool, str]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)"


def _packages() -> tuple[bool, str]:
    from farm.provenance import versions

    found = versions()
    absent = [name for name, version in found.items() if version == "absent"]
    if absent:
        return False, f"absent: {', '.join(absent)}; run 'make venv'"
    return True, ", ".join(f"{name} {found[name]}" for name in ("ray", "torch", "diffusers", "pyarrow"))


def _machine() -> tuple[bool, str]:
    from farm.provenance import hardware

    facts = hardware()
    text = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB"
    return facts["memory_gib"] >= 6, text if facts["memory_gib"] >= 6 else f"{text}; a local run needs 6 GiB"


def _gpus() -> tuple[bool, str]:
    from farm.provenance import hardware

    return True, "; ".join(hardware()["gpus"]) or "none found: set compute.device to cpu (the default)"


def _disk() -> tuple[bool, str]:
    free = shutil.disk_usage(Path.cwd()).free / GIB
    return free >= 2, f"{free:.0f} GiB free here" + ("" if free >= 2 else "; a run needs at least 2 GiB")


def _shared_memory() -> tuple[bool, str]:
    place = Path("/dev/shm")
    if not place.exists():
        return True, "no /dev/shm; Ray uses a file instead"
    free = shutil.disk_usage(place).free / GIB
    return free >= 1, f"{free:.1f} GiB free in /dev/shm" + ("" if free >= 1 else "; Ray's object store needs 1 GiB")


def _weights() -> tuple[bool, str]:
    from farm.config import ModelConfig
    from farm.diffusion.weights import fingerprint
    from farm.errors import FarmError

    try:
        return True, f"embedded diffusion model {fingerprint(ModelConfig())}"
    except FarmError as error:
        return False, str(error)


def _demo_photographs() -> tuple[bool, str]:
    from farm.config import DataConfig
    from farm.datasets import load_photos
    from farm.errors import FarmError

    try:
        photos = load_photos(DataConfig(kind="textile", category="textile"))
    except FarmError as error:
        return True, f"not installed ({error}); only 'farm demo' needs them"
    return True, f"{len(photos.train)} train, {len(photos.shots)} few-shot, {len(photos.test)} test"


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "python": _python,
    "packages": _packages,
    "machine": _machine,
    "gpus": _gpus,
    "disk": _disk,
    "shared memory": _shared_memory,
    "weights": _weights,
    "demo photographs": _demo_photographs,
}

if __name__ == "__main__":
    run_command(command)
