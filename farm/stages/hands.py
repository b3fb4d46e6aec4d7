"""What a stage tells while it works on a shard: which rows are in hand. Whoever counts attempts, or waits, listens.

A stage calls ``hold`` before each batch and never holds rows that ``blame`` calls poisoned; rows that it suspects are
held alone.
"""

import faulthandler
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from farm.attempts import Attempt, Blame
from farm.stages.memory import DeviceLostError

STDERR = 2  # the descriptor itself: a worker's log, whatever sys.stderr is there


class Hands(Protocol):
    """What a stage needs to know of earlier attempts, and whom it tells what is in hand."""

    blame: Blame

    def hold(self, rows: Sequence[int]) -> None:
        """These row numbers are in hand now."""


class Free:
    """No earlier attempt, and nobody listens."""

    blame = Blame()

    def hold(self, rows: Sequence[int]) -> None:
        """Say nothing."""


class Watched:
    """Tells ``attempt`` what is in hand, and ends this process when one batch takes longer than ``stall_s`` seconds.

    The process that hangs cannot be trusted to run Python, so the clock is the C thread of ``faulthandler``, which
    writes where every thread stands and exits. To whoever counts, that is a death like any other.
    """

    def __init__(self, attempt: Attempt, stall_s: float, log: int = STDERR) -> None:
        self.attempt, self.stall_s, self.blame = attempt, stall_s, attempt.blame
        self._log = log

    def hold(self, rows: Sequence[int]) -> None:
        """Note the rows and set the clock anew."""
        self.attempt.hold(rows)
        faulthandler.dump_traceback_later(self.stall_s, exit=True, file=self._log)

    def __enter__(self) -> "Watched":
        faulthandler.dump_traceback_later(self.stall_s, exit=True, file=self._log)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        faulthandler.cancel_dump_traceback_later()
        if error is None and self.blame.dead:
            self.attempt.end("done")
        if isinstance(error, Exception) and not isinstance(error, DeviceLostError):
            self.attempt.end(f"{type(error).__name__}: {error}"[:300])
