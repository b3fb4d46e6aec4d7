"""When memory runs out: smaller batches at the same rows, and fewer shards in hand. When a device breaks: who goes on.

Noise is drawn for each row by itself, so a smaller batch draws the same; what a network computes from it is the same
where its kernels do not depend on the batch's shape, and equal to rounding elsewhere (decision 3).
"""

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 8  # batches that must go well before a larger one is tried
_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")
LEAST_FREE = 0.06  # share of the memory that must be free before a shard is begun
POLL_S = 1.0


class BatchSize:
    """How many rows go into a batch: ``full`` until memory runs out, then halves; it grows back later."""

    def __init__(self, full: int) -> None:
        self.full, self.now = full, full
        self._tried, self._grew, self._went_well, self._patience = False, False, 0, PATIENCE

    def shrink(self) -> bool:
        """Memory ran out. True: try again, the first time as large as before and then with half; False: no use."""
        if not self._tried:
            self._tried = True
            return True
        if self.now == 1:
            self._tried = False
            return False
        if self._grew:
            self._patience *= 2  # growing did not last
        self._tried, self._grew, self._went_well, self.now = False, False, 0, self.now // 2
        return True

    def worked(self) -> None:
        """A batch went well."""
        self._tried, self._grew, self._went_well = False, False, self._went_well + 1
        if self.now < self.full and self._went_well >= self._patience:
            self._grew, self._went_well, self.now = True, 0, min(self.full, 2 * self.now)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory of the host or of a device ran out."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(words in text for words in _WORDS))
    )


class DeviceLostError(RuntimeError):
    """The device's context is broken, so that all later work in this process fails: only a new process can go on."""


def is_device_lost(error: BaseException) -> bool:
    """Whether ``error`` is a CUDA error that sticks to the process (an assert on the device, an illegal address)."""
    return isinstance(error, RuntimeError) and "cuda error" in str(error).lower() and not is_out_of_memory(error)


def relieve() -> None:
    """Give back what can be given back: dead objects, and what torch keeps of a device for later."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_share() -> float:
    """The share of this host's, or this container's, memory that is free, the smaller of the two; 1 where unknown."""
    return min(_host(Path("/proc/meminfo")), _container(Path("/sys/fs/cgroup")))


def wait_for_memory(
    longest_s: float,
    free: Callable[[], float] = free_share,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> float:
    """Wait until ``LEAST_FREE`` of the memory is free, for ``longest_s`` seconds at most; returns the seconds waited.

    A worker calls it before it begins a shard: under pressure fewer are in hand, and those that are come to their end.
    """
    begun = now()
    while free() < LEAST_FREE and now() - begun < longest_s:
        relieve()
        pause(POLL_S)
    return now() - begun


def _host(path: Path) -> float:
    try:
        lines = dict(line.split(":") for line in path.read_text().splitlines() if ":" in line)
        return float(lines["MemAvailable"].split()[0]) / float(lines["MemTotal"].split()[0])
    except (OSError, KeyError, ValueError, IndexError):
        return 1.0


def _container(root: Path) -> float:
    """Of cgroup v2's limit; the page cache that the kernel would drop counts as free."""
    try:
        most, used = (root / "memory.max").read_text().strip(), int((root / "memory.current").read_text())
        if most == "max":
            return 1.0
        stat = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        return (int(most) - used + int(stat["inactive_file"])) / int(most)
    except (OSError, KeyError, ValueError):
        return 1.0
