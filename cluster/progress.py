"""Progress of a run's phases: a rich bar on a terminal, one line a phase elsewhere."""

import sys
from collections.abc import Callable
from typing import Any, Protocol

Report = Callable[[int, dict[str, int]], None]  # (units finished, counts so far)


class Progress(Protocol):
    """What the flow tells while it works."""

    def start(self, name: str, work: int, unit: str) -> None:
        """A phase begins with ``work`` units to do; 0 means that nothing is missing."""

    def advance(self, finished: int, counts: dict[str, int]) -> None:
        """So many units of the phase are finished; ``counts`` adds up what they said."""

    def finish(self, name: str, seconds: float, ok: bool) -> None:
        """The phase ended."""

    def note(self, text: str) -> None:
        """Something happened that a log should keep."""


class Silent:
    """Says nothing: for tests and for ``--json``."""

    def start(self, name: str, work: int, unit: str) -> None:
        """Say nothing."""

    def advance(self, finished: int, counts: dict[str, int]) -> None:
        """Say nothing."""

    def finish(self, name: str, seconds: float, ok: bool) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


class Shown:
    """Writes to standard error: a moving bar on a terminal, else plain lines that a log keeps."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Any = None
        self._task: Any = None
        self._last = ""
        self._work = 0

    def start(self, name: str, work: int, unit: str) -> None:
        """Show the phase, or that it is done already."""
        self._work = work
        if not work:
            return
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
            shown = (*columns, TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Bars(*shown, console=self._console, transient=True)
            self._task = self._bar.add_task(name, total=work, note="")
            self._bar.start()
        else:
            self._console.print(f"{name}: {work} {unit} to do", highlight=False)

    def advance(self, finished: int, counts: dict[str, int]) -> None:
        """Move the bar."""
        self._last = ", ".join(f"{value} {key}" for key, value in counts.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=finished, note=self._last)

    def finish(self, name: str, seconds: float, ok: bool) -> None:
        """Close the bar with a line that stays."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if not self._work:
            self._console.print(f"{name}: done before", highlight=False, style="dim")
        else:
            ended = "done" if ok else "stopped"
            self._console.print(f"{name}: {ended} in {seconds:.1f} s{self._note()}", highlight=False)
        self._last = ""

    def note(self, text: str) -> None:
        """Write a line."""
        self._console.print(text, highlight=False, markup=False)

    def _note(self) -> str:
        return f" ({self._last})" if self._last else ""
