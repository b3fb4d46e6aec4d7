import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from farm.errors import RunError, StoreError
from farm.lease import NAME, TERM_S, Holder, Lease, read_lease
from farm.store import Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def take(store: Store, clock: Callable[[], float]) -> Lease:
    return Lease.take(store, "farm run", now=clock, pause=lambda _: None)


def elsewhere(lease: Lease) -> Holder:
    """The lease's holder as a process of another machine, of which nothing is known here."""
    holder = replace(lease.holder, host="node-7", place="node-7 boot ns")
    lease.store.write(NAME, json.dumps(asdict(holder)).encode())
    return holder


def test_a_second_driver_is_refused_by_name_and_goes_in_after_the_first_let_go(store: Store) -> None:
    clock = Clock()
    first = take(store, clock)
    clock.now += 10
    with pytest.raises(RunError, match=r"'farm run' process \d+ on .*, last heard of 10 s ago.*lease ends in 50 s"):
        take(store, clock)
    first.release()
    assert read_lease(store) is None
    assert take(store, clock).holder.owner != first.holder.owner


def test_a_lease_that_expired_is_taken_over_and_the_first_driver_finds_out(store: Store) -> None:
    clock = Clock()
    first = take(store, clock)
    elsewhere(first)
    clock.now += TERM_S - 1
    with pytest.raises(RunError, match="node-7"):
        take(store, clock)
    clock.now += 2
    second = take(store, clock)
    first.check()  # it does not know yet
    first.renew()
    with pytest.raises(RunError, match="took this run over"):
        first.check()
    first.release()
    there = read_lease(store)
    assert there is not None  # what is another's is not taken away
    assert there.owner == second.holder.owner


def test_a_renewal_puts_the_expiry_off(store: Store) -> None:
    clock = Clock()
    first = take(store, clock)
    elsewhere(first)
    clock.now += TERM_S - 1
    first.renew()
    elsewhere(first)
    clock.now += TERM_S - 1
    with pytest.raises(RunError, match="is at work"):
        take(store, clock)


def test_a_dead_process_of_this_machine_loses_its_lease_at_once(store: Store) -> None:
    clock = Clock()
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    first = take(store, clock)
    for gone in (replace(first.holder, pid=int(done.stdout)), replace(first.holder, started="1")):
        store.write(NAME, json.dumps(asdict(gone)).encode())
        taken = take(store, clock)  # no process has this pid; or one has, but it began at another time
        assert taken.holder.owner != first.holder.owner
        store.remove(NAME)


def test_of_two_that_take_over_at_once_only_the_later_writer_stays(store: Store) -> None:
    clock = Clock()
    elsewhere(take(store, clock))
    clock.now += 2 * TERM_S

    def meanwhile(_: float) -> None:
        store.write(NAME, json.dumps(asdict(replace(holder, owner="the other"))).encode())

    holder = read_lease(store)
    assert holder is not None
    with pytest.raises(RunError, match="at this moment"):
        Lease.take(store, now=clock, pause=meanwhile)


def test_a_file_that_is_no_lease_is_taken_over(store: Store) -> None:
    store.write(NAME, b"{half")
    assert take(store, Clock()).holder.command == "farm run"


def test_a_clock_that_jumps_back_never_locks_a_run_for_longer_than_a_term(store: Store) -> None:
    clock = Clock()
    elsewhere(take(store, clock))
    clock.now -= 10 * TERM_S  # the other's clock was ahead by ten terms: an expiry so far off is no lease of ours
    assert take(store, clock).holder.expires_at == clock.now + TERM_S


def test_the_thread_renews_through_a_store_that_stumbles(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.lease.TERM_S", 0.04)
    lease = take(store, Clock())
    stumbles = [StoreError("gone")] * 3
    real = lease.renew
    renewed = []

    def renew() -> None:
        if stumbles:
            raise stumbles.pop()
        renewed.append(1)
        real()

    monkeypatch.setattr(lease, "renew", renew)
    lease.keep()
    while not renewed:
        lease._end.wait(0.01)
    lease.release()
    assert read_lease(store) is None
