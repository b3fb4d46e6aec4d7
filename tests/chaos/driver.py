"""``farm`` as a child process: started, watched, hit."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.processes import start

ROOT = Path(__file__).resolve().parents[2]


class Driver:
    """One ``python -m jobs.<job> ...``; its words go to ``log``."""

    def __init__(self, job: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log, self.begun = log, time.monotonic()
        self.process = start([sys.executable, "-m", f"jobs.{job}", *arguments], environment, log, ROOT)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def send(self, what: signal.Signals) -> str:
        """Send a signal; says what was hit, "" where the process has ended."""
        if not self.running:
            return ""
        self.process.send_signal(what)
        return f"pid {self.process.pid}"

    def wait(self, patience_s: float) -> int | None:
        """Its exit code; None, and it is killed, where it takes longer than ``patience_s``."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def last_words(self, most: int = 600) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace").strip()[-most:]
