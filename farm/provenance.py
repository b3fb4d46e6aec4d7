"""What made an output: package versions, commit of this repository, hardware. Written beside every result."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "defectfarm",
    "ray",
    "torch",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "timm",
    "faiss-cpu",
    "pyarrow",
    "numpy",
    "opencv-python-headless",
    "pillow",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide pixels and numbers; "absent" where not installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def commit() -> str:
    """The commit of the checkout this package runs from, with "+changes" where files differ; else "unknown"."""
    root = Path(__file__).resolve().parent.parent
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return "unknown"
    return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def hardware() -> dict[str, Any]:
    """Processor, cores and memory of this machine, and its GPUs as the driver names them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "gpus": _gpus(),
    }


def processor() -> str:
    """The processor's name as the system gives it; "unknown" where it gives none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _gpus() -> list[str]:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
