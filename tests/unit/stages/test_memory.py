from itertools import pairwise
from pathlib import Path

import pytest

from farm.stages.memory import (
    LEAST_FREE,
    BatchSize,
    _container,
    _host,
    free_share,
    is_device_lost,
    is_out_of_memory,
    wait_for_memory,
)


def test_what_is_out_of_memory_and_what_is_not() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch names it."""

    for error in (
        MemoryError(),
        OutOfMemoryError("x"),
        RuntimeError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ):
        assert is_out_of_memory(error)
        assert not is_device_lost(error)
    assert not is_out_of_memory(ValueError("out of memory"))
    assert is_device_lost(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not is_device_lost(RuntimeError("shapes differ"))


def test_growing_that_does_not_last_is_tried_less_and_less_often() -> None:
    size, sizes = BatchSize(8), list[int]()
    for _ in range(500):
        if size.now > 4:  # room for four
            assert size.shrink()
            assert size.shrink()
        size.worked()
        sizes.append(size.now)
    grown = [turn for turn, now in enumerate(sizes) if now == 8]
    gaps = [later - sooner for sooner, later in pairwise(grown)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 4 * gaps[0]


def test_a_shard_is_begun_when_memory_is_free_or_after_the_longest_wait() -> None:
    clock, seen = [0.0], iter([0.01, 0.02, LEAST_FREE])

    def pause(seconds: float) -> None:
        clock[0] += seconds

    assert wait_for_memory(60, free=lambda: next(seen), pause=pause, now=lambda: clock[0]) == 2
    assert wait_for_memory(5, free=lambda: 0.0, pause=pause, now=lambda: clock[0]) == 5
    assert wait_for_memory(5, free=lambda: 0.5, pause=pause, now=lambda: clock[0]) == 0


def test_free_memory_is_the_kernels_and_the_containers(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 250 kB\n")
    assert _host(tmp_path / "meminfo") == 0.25
    assert _host(tmp_path / "none") == 1.0
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 700\ninactive_file 150\n")
    assert _container(tmp_path) == pytest.approx(0.25)
    (tmp_path / "memory.max").write_text("max\n")
    assert _container(tmp_path) == 1.0
    assert 0 < free_share() <= 1
