"""Every process of a trial: found, hit, and gone at its end.

The harness is made the reaper of its descendants' orphans (Linux: PR_SET_CHILD_SUBREAPER), so that what a killed
driver or raylet leaves behind is still below the harness, and nothing else on the machine is ever touched.
"""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
GONE_S = 20.0


def adopt_orphans() -> None:
    """Make this process the parent of every orphan among its descendants. Raises ``OSError`` where that fails."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def start(command: list[str], environment: dict[str, str], log: Path, folder: Path) -> "subprocess.Popen[bytes]":
    """Start ``command`` in ``folder`` in a session of its own, with all it says in ``log``."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def below() -> list[psutil.Process]:
    """All living descendants."""
    return [process for process in psutil.Process().children(recursive=True) if _alive(process)]


def actors(pool: str) -> list[psutil.Process]:
    """The worker processes of Ray's actors whose class is ``pool`` (its name, in any case), eldest first."""
    title = re.compile(rf"^ray::.*\b{pool}\b", re.IGNORECASE)
    return _eldest_first([process for process in below() if title.search(_command(process))])


def raylets(session: Path, head: bool) -> list[psutil.Process]:
    """The raylets of the cluster whose temporary folder is ``session``: the head's, or the worker nodes'."""
    return [
        process
        for process in _eldest_first(below())
        if _name(process) == "raylet" and str(session) in _command(process) and (" --head" in _command(process)) == head
    ]


def heads(session: Path) -> list[psutil.Process]:
    """The GCS and the head's raylet of the cluster in ``session``."""
    servers = [process for process in below() if _name(process) == "gcs_server" and str(session) in _command(process)]
    return servers + raylets(session, head=True)


def send(process: psutil.Process, what: signal.Signals) -> bool:
    """Send a signal; False where the process is gone already."""
    try:
        process.send_signal(what)
    except psutil.NoSuchProcess:
        return False
    return True


def kill_all() -> list[str]:
    """Kill every descendant; the commands of those that would not go (there should be none)."""
    until = time.monotonic() + GONE_S
    while (left := below()) and time.monotonic() < until:
        for process in left:
            send(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=1)
        reap()
    return [_command(process) for process in left]


def reap(keep: Collection[int] = ()) -> None:
    """Collect orphans that have ended, but those in ``keep``, whose exit somebody else waits for."""
    for process in psutil.Process().children():
        if process.pid not in keep and not _alive(process):
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                continue


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def _eldest_first(found: list[psutil.Process]) -> list[psutil.Process]:
    return sorted(found, key=lambda process: (process.create_time(), process.pid))
