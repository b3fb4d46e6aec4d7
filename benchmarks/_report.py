"""What every benchmark writes beside its verdict: figures with the machine, versions and commit they hold for."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from farm.provenance import processor

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
_PACKAGES = ("numpy", "opencv-python-headless", "scipy", "torch", "ray", "faiss-cpu", "diffusers")


class Figure(TypedDict):
    """One measured number; ``low`` and ``high`` are the extremes over the rounds."""

    value: float
    unit: str
    low: float
    high: float


def machine() -> dict[str, str | int | float]:
    """Processor name, CPUs this process may use, their load over the last minute, memory in GiB, and the system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": processor(),
        "cpus": usable,
        "load_1min": round(os.getloadavg()[0], 1),
        "memory_gib": _memory_gib(),
        "system": platform.platform(),
    }


def figure(rounds: list[float], unit: str) -> Figure:
    """The median of the rounds with their extremes."""
    ranked = sorted(rounds)
    middle = len(ranked) // 2
    median = ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2
    return {"value": round(median, 3), "unit": unit, "low": round(ranked[0], 3), "high": round(ranked[-1], 3)}


def write(name: str, figures: dict[str, Figure], n: int) -> Path:
    """Write ``results/<name>.json``: command, commit, machine, versions, n and the figures; gives its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    told = {
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "n": n,
        "figures": figures,
    }
    path.write_text(json.dumps(told, indent=2) + "\n")
    return path


def commit() -> str:
    """The short commit of the checkout, with "+" where tracked files differ from it; "unknown" outside git."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that set the pace, those that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
