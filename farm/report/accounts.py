"""Where every planned row went. The columns close: planned = kept + refused by reason + failed + poisoned + still open.

Rows that are not made or not judged yet are lines of their own, so that a half-finished run closes too.
"""

from collections import Counter
from dataclasses import dataclass

from farm.report.inputs import FAILED, KEPT, REFUSED, UNJUDGED, Inputs

NOT_MADE = "not made yet"


@dataclass(frozen=True)
class Line:
    """One line of the table: ``counts`` has one number a method, ``total`` their sum and rows not made yet."""

    label: str
    outcome: str  # kept, refused, failed, poisoned, not judged, not made yet or planned: decides the look
    counts: tuple[int, ...]
    total: int


@dataclass(frozen=True)
class Accounts:
    """Outcomes by method x reason. ``planned`` is what the other lines must add up to."""

    methods: tuple[str, ...]
    planned: Line
    lines: tuple[Line, ...]
    errors: tuple[tuple[str, int], ...]  # messages of failed and poisoned rows, most frequent first

    @property
    def closes(self) -> bool:
        """Whether each column, and the total, is the sum of its lines."""
        columns = zip(*(line.counts for line in self.lines), strict=True)
        sums = tuple(sum(column) for column in columns) if self.lines else self.planned.counts
        return sums == self.planned.counts and sum(line.total for line in self.lines) == self.planned.total

    def total(self, outcome: str) -> int:
        """Rows with this outcome, all methods and reasons together."""
        return sum(line.total for line in self.lines if line.outcome == outcome)

    def share(self, outcome: str) -> float:
        """``total(outcome)`` as a share of planned rows."""
        return self.total(outcome) / max(1, self.planned.total)


def account(inputs: Inputs) -> Accounts:
    """The table of ``inputs``; refusals with the most frequent reason first."""
    samples = inputs.samples
    keys = zip(samples["method"], samples["outcome"], samples["reason"], strict=True)
    counts = Counter((method, outcome, reason if outcome == REFUSED else "") for method, outcome, reason in keys)
    planned = Counter(samples["method"])
    methods = _in_config_order(inputs, planned)
    lines = [_line(KEPT, KEPT, "", counts, methods), *_refusals(counts, methods)]
    lines.append(_line(FAILED, FAILED, "", counts, methods))
    others = sorted({outcome for _, outcome, _ in counts} - {KEPT, REFUSED, FAILED})
    lines += [_line(outcome, outcome, "", counts, methods) for outcome in others]
    missing = inputs.run.rows - inputs.committed
    if missing > 0:
        lines.append(Line(NOT_MADE, NOT_MADE, (0,) * len(methods), missing))
    whole = Line("planned", "planned", tuple(planned[method] for method in methods), inputs.run.rows)
    errors = Counter(str(error) for error in samples["error"] if error)
    return Accounts(methods, whole, tuple(lines), tuple(errors.most_common(8)))


def _in_config_order(inputs: Inputs, found: Counter[str]) -> tuple[str, ...]:
    arms = inputs.run.arm_names()
    return (*(arm for arm in arms if arm in found), *sorted(set(found) - set(arms)))


def _refusals(counts: Counter[tuple[str, str, str]], methods: tuple[str, ...]) -> list[Line]:
    reasons = sorted({reason for _, outcome, reason in counts if outcome == REFUSED})
    lines = [_line(reason or "no reason given", REFUSED, reason, counts, methods) for reason in reasons]
    return sorted(lines, key=lambda line: -line.total)


def _line(
    label: str, outcome: str, reason: str, counts: Counter[tuple[str, str, str]], methods: tuple[str, ...]
) -> Line:
    numbers = tuple(counts[method, outcome, reason] for method in methods)
    return Line(label, outcome, numbers, sum(numbers))


__all__ = ["NOT_MADE", "UNJUDGED", "Accounts", "Line", "account"]
