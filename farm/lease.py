"""Which driver owns a run: ``lease.json`` in its folder, with an expiry.

The lease saves work; it does not carry the promise. Two drivers at once would write the same bytes under the same
names, so a clock that jumps, or a driver that froze and wakes up after it was replaced, can waste seconds but harm
nothing. It is taken where there is none, where it has expired, or where its process is known to be dead.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from farm.errors import FarmError, RunError, StoreError
from farm.store import Store, json_bytes

NAME = "lease.json"
TERM_S = 60.0
RENEWALS = 4  # in a term
MOST_S = 5 * TERM_S  # an expiry further off was written by a clock that is wrong
SETTLE_S = 1.0  # after a takeover: long enough for another driver that took over at the same moment to write


@dataclass(frozen=True)
class Holder:
    """Who holds a run. ``place`` names host, boot and process namespace: where ``pid`` means something."""

    owner: str
    host: str
    place: str
    pid: int
    started: str  # of the process, in the kernel's ticks: a later process with the same pid is another
    taken_at: float  # seconds since the epoch, as are the next two
    renewed_at: float
    expires_at: float
    command: str = ""

    def is_dead(self) -> bool:
        """Whether the process is known to be gone; False where that cannot be said from here."""
        return self.place == _place() and _started(self.pid) != self.started


class Lease:
    """A run folder's lease, held by this process from ``take`` to ``release`` and renewed by a thread."""

    def __init__(self, store: Store, holder: Holder, now: Callable[[], float] = time.time) -> None:
        self.store, self.holder, self._now = store, holder, now
        self.lost_to: Holder | None = None
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def take(
        cls,
        store: Store,
        command: str = "",
        now: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
    ) -> "Lease":
        """Become the owner of the run in ``store``; ``RunError`` where another driver is at work on it."""
        moment = now()
        mine = Holder(
            *(uuid.uuid4().hex, socket.gethostname(), _place(), os.getpid(), _started(os.getpid())),
            *(moment, moment, moment + TERM_S, command),
        )
        if store.create(NAME, json_bytes(asdict(mine))):
            return cls(store, mine, now)
        there = read_lease(store)
        if there is not None and not there.is_dead() and moment < there.expires_at <= moment + MOST_S:
            raise RunError(
                f"{store.root}: {describe(there, moment)} is at work on it. One run has one driver: wait for it, or "
                f"stop it; if it is gone for good, its lease ends in {there.expires_at - moment:.0f} s"
            )
        store.write(NAME, json_bytes(asdict(mine)))
        pause(SETTLE_S)
        there = read_lease(store)
        if there is None or there.owner != mine.owner:
            raise RunError(f"{store.root}: another driver took the run over at this moment; leave it to that one")
        return cls(store, mine, now)

    def renew(self) -> None:
        """Put the expiry off by a term; notes in ``lost_to`` who took the run over, if someone did."""
        there = read_lease(self.store)
        if there is not None and there.owner != self.holder.owner:
            self.lost_to = there
            return
        moment = self._now()
        self.holder = replace(self.holder, renewed_at=moment, expires_at=moment + TERM_S)
        self.store.write(NAME, json_bytes(asdict(self.holder)))

    def check(self) -> None:
        """Raise ``RunError`` where another driver took the run over."""
        if self.lost_to is not None:
            raise RunError(
                f"{self.store.root}: {describe(self.lost_to, self._now())} took this run over; this driver stops. "
                "What it committed is kept"
            )

    def keep(self) -> None:
        """Renew in the background until ``release``; a store that stumbles is asked again at the next renewal."""
        self._thread = threading.Thread(target=self._renewals, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the run back, so that the next driver need not wait."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=TERM_S / RENEWALS)
        there = read_lease(self.store)
        if there is not None and there.owner == self.holder.owner:
            self.store.remove(NAME)

    def _renewals(self) -> None:
        while not self._end.wait(TERM_S / RENEWALS):
            try:
                self.renew()
            except StoreError:
                continue  # asked again at the next renewal
            if self.lost_to is not None:
                return


def read_lease(store: Store) -> Holder | None:
    """Who holds the run in ``store``; None where nobody does, or where the file is no lease."""
    try:
        return Holder(**json.loads(store.read(NAME)))
    except StoreError:
        raise
    except (FarmError, ValueError, TypeError):
        return None


def describe(holder: Holder, now: float) -> str:
    """The holder in words."""
    what = f"'{holder.command}' " if holder.command else ""
    return f"a driver ({what}process {holder.pid} on {holder.host}, last heard of {now - holder.renewed_at:.0f} s ago)"


def _place() -> str:
    """Host, boot and process namespace; "" where the system does not tell, which is never equal to another's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"unknown {uuid.uuid4().hex}"


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot; "" where there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
