"""How far a run is, read from its folder alone: from any machine, while it runs, after it died, before it began."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from farm import attempts
from farm.errors import RunError
from farm.lease import Holder, describe, read_lease
from farm.run_folder import RunFolder


@dataclass(frozen=True)
class Status:
    """Counts are of rows; ``rate`` is rows a second of the present phase, ``eta_s`` what is left at that rate."""

    name: str
    state: str  # running, stopped or finished
    planned: int
    made: int
    failed: int
    poisoned: int
    missing: int
    shards: tuple[int, int]  # committed, planned
    driver: str = ""
    phase: dict[str, Any] = field(default_factory=dict)  # progress.json
    rate: float | None = None
    eta_s: float | None = None
    troubled: dict[int, int] = field(default_factory=dict)  # shard -> attempts, where more than one is open
    verdicts: dict[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For a person."""
        done, planned = self.shards
        lines = [f"{self.name}: {self.state}{f', {self.driver}' if self.driver else ''}"]
        share = 100 * (self.planned - self.missing) / self.planned
        lines.append(
            f"planned {self.planned} = made {self.made} + failed {self.failed} + poisoned {self.poisoned} + missing "
            f"{self.missing}; {done} of {planned} shards, {share:.0f} %"
        )
        if self.verdicts:
            lines.append("judged: " + ", ".join(f"{count} {name}" for name, count in self.verdicts.items()))
        if self.phase and self.state == "running":
            pace = f", {self.rate:.2f} {self.phase['unit']}/s" if self.rate else ""
            left = f", about {_duration(self.eta_s)} left" if self.eta_s is not None else ""
            lines.append(
                f"phase {self.phase['phase']}: {self.phase['finished']} of {self.phase['work']} {self.phase['unit']}"
                f"{pace}{left}"
            )
        lines += [f"shard {shard}: {count} attempts, not committed yet" for shard, count in self.troubled.items()]
        if self.state == "stopped" and (self.missing or not self.verdicts):
            lines.append("nobody is at work on it; the command that began it goes on from here")
        return lines


def read_status(folder: RunFolder, now: float) -> Status:
    """The status of ``folder`` at ``now`` (seconds since the epoch). Raises ``RunError`` where it is no run folder."""
    run, markers = folder.run(), folder.markers()
    counts = Counter[str]()
    for marker in markers.values():
        counts.update({name: int(marker[name]) for name in ("rows", "made", "failed", "poisoned")})
    holder = read_lease(folder.store)
    live = holder is not None and not holder.is_dead() and now < holder.expires_at
    judged = _judged(folder)
    phase = _phase(folder) if live else {}
    rate = phase["finished"] / phase["seconds"] if phase and phase["seconds"] > 0 else None
    left = phase["work"] - phase["finished"] if phase else 0
    missing = run.rows - counts["rows"]
    return Status(
        name=run.name,
        state="running" if live else "stopped" if missing or not judged else "finished",
        planned=run.rows,
        made=counts["made"],
        failed=counts["failed"],
        poisoned=counts["poisoned"],
        missing=missing,
        shards=(len(markers), folder.shard_count()),
        driver=_driver(holder, live, now),
        phase=phase,
        rate=rate,
        eta_s=left / rate if rate else None,
        troubled={shard: count for shard, count in attempts.counts(folder.store).items() if count > 2},
        verdicts=judged,
    )


def _judged(folder: RunFolder) -> dict[str, int]:
    if not folder.store.exists(folder.verdict_name("verdicts.parquet")):
        return {}
    return dict(sorted(Counter(folder.verdicts()["verdict"].to_pylist()).items()))


def _phase(folder: RunFolder) -> dict[str, Any]:
    try:
        return dict(folder.read_json("progress.json"))
    except (RunError, ValueError):  # not there yet
        return {}


def _driver(holder: Holder | None, live: bool, now: float) -> str:
    if holder is None:
        return ""
    return describe(holder, now) + ("" if live else ", gone")


def _duration(seconds: float | None) -> str:
    """Whole hours and minutes, or seconds."""
    whole = int(seconds or 0)
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"
