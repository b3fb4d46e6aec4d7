"""``python -m tests.chaos``: play trials, print a line for each, write what they found.

Exit code 0: every trial that could be run ended with the undisturbed dataset. 1: one did not. Linux only.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import _report as report
from tests.chaos import processes
from tests.chaos.compare import Seen, compare, look, told
from tests.chaos.places import Disk, NotHereError, ObjectStore, Place, Server, SmallDisk
from tests.chaos.scenario import KINDS, Scenario, draw
from tests.chaos.settings import make_photographs, write_config
from tests.chaos.trial import Outcome, Trial

COUNTED = ("missing", "duplicate", "alien", "differing", "files")


class Bench:
    """What the trials share: photographs, configs, the S3 server, and the undisturbed run of each kind of store."""

    def __init__(self, folder: Path, shards: int, patience_s: float, keep: bool, one_calm: bool) -> None:
        self.folder, self.shards, self.patience_s, self.keep = folder, shards, patience_s, keep
        self.one_calm = one_calm
        self.photographs = make_photographs(folder / "plates")
        self._server: Server | None = None
        self._wanted: dict[str, Seen] = {}
        self._barred: dict[str, str] = {}  # kind of store → why it cannot be had here

    def play(self, scenario: Scenario) -> Outcome:
        """One trial, its place given back at the end."""
        calm = "local" if self.one_calm else scenario.store
        if calm not in self._wanted and calm not in self._barred:
            self._undisturbed(calm)
        if scenario.store in self._barred:
            return Outcome(scenario, not_run=self._barred[scenario.store])
        try:
            return self._play(scenario, f"t{scenario.trial}", self._wanted[calm])[0]
        except NotHereError as error:
            self._barred[scenario.store] = str(error)
            return Outcome(scenario, not_run=str(error))

    def close(self) -> None:
        """Stop the server and remove everything."""
        if self._server is not None:
            self._server.close()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _undisturbed(self, store: str) -> None:
        """Make it once; its bytes must be those of the other stores' undisturbed runs."""
        calm = Scenario(seed=0, trial=-1, store=store, nodes=1, blows=())
        try:
            outcome, seen = self._play(calm, f"calm-{store}", None)
        except NotHereError as error:
            self._barred[store] = str(error)
            return
        if outcome.problems:
            raise SystemExit(f"the undisturbed run on {store} failed: {'; '.join(outcome.problems)}")
        for other, known in self._wanted.items():
            difference = compare(known, seen)
            if not difference.identical:
                raise SystemExit(f"undisturbed runs on {other} and {store} differ: {difference}")
        self._wanted[store] = seen
        print(f"undisturbed on {store}: {len(seen.rows)} rows, {outcome.seconds:.0f} s", flush=True)

    def _play(self, scenario: Scenario, name: str, wanted: Seen | None) -> tuple[Outcome, Seen]:
        folder = self.folder / name
        folder.mkdir()
        place = self._place(scenario, folder)
        try:
            config = write_config(folder / "config.yaml", self.photographs, self.shards, max(1, scenario.nodes))
            outcome = Trial(scenario, place, config, self.shards, folder, self.patience_s).play(wanted)
            seen = look(place) if wanted is None else wanted
        finally:
            if not self.keep:
                place.close()
                shutil.rmtree(folder, ignore_errors=True)
        return outcome, seen

    def _place(self, scenario: Scenario, folder: Path) -> Place:
        if scenario.store != "s3":
            return (SmallDisk if scenario.store == "tmpfs" else Disk)(folder / "disk")
        self._server = self._server or Server()
        return ObjectStore(self._server, folder.name, scenario.seed * 1000 + scenario.trial + 1)


def line(outcome: Outcome) -> str:
    """A trial in a line, and what went wrong below it."""
    result = "not run" if outcome.not_run else "identical" if outcome.passed else "FAILED"
    text = f"trial {outcome.scenario.trial}: {result}, {outcome.starts} start(s), {outcome.seconds:.0f} s"
    lines = [f"{text}  [{outcome.scenario}]"]
    if not outcome.passed:
        reasons = [outcome.not_run] if outcome.not_run else [*outcome.told, *outcome.problems]
        found = [] if outcome.difference is None else [str(outcome.difference)]
        lines += [f"    {part}" for part in [*reasons, *found]]
    return "\n".join(lines)


def results(trials: Sequence[dict[str, Any]]) -> dict[str, object]:
    """The JSON: how it was measured, figures, and every trial with its blows."""
    run = [trial for trial in trials if not trial["not_run"]]
    counts = {"trials": len(run), "identical": sum(trial["passed"] for trial in run)}
    counts["not_run"] = len(trials) - len(run)
    for name in COUNTED:
        counts[name] = sum(trial.get(name, 0) for trial in run)
    for kind in KINDS:
        counts[f"blows.{kind}"] = sum(trial["struck"].get(kind, 0) for trial in run)
    figures = {name: report.figure([float(count)], "count") for name, count in counts.items()}
    if run:
        figures["seconds"] = report.figure([trial["seconds"] for trial in run], "s")
        figures["starts"] = report.figure([float(trial["starts"]) for trial in run], "starts")
    return {
        "command": f"python -m tests.chaos {' '.join(sys.argv[1:])}".strip(),
        "commit": report.commit(),
        "machine": report.machine(),
        "versions": report.versions(),
        "n": len(run),
        "figures": figures,
        "trials": list(trials),
    }


def _trial(outcome: Outcome) -> dict[str, Any]:
    difference = told(outcome.difference) if outcome.difference else {}
    tree = {**asdict(outcome.scenario), "passed": outcome.passed, "not_run": outcome.not_run, **difference}
    shown = {"struck": outcome.struck, "starts": outcome.starts, "seconds": round(outcome.seconds, 1)}
    return {**tree, **shown, "problems": outcome.problems}


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the trials that the command line asks for; the exit code."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is given back
    processes.adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    bench = Bench(folder, asked.shards, asked.patience, asked.keep, asked.one_calm)
    partial = asked.only or (asked.first and not asked.go_on)
    path = None if partial and not asked.out else Path(asked.out or report.RESULTS / "chaos.json")
    trials = json.loads(path.read_text())["trials"] if asked.go_on and path and path.exists() else []
    known = {(trial["seed"], trial["trial"]) for trial in trials}
    try:
        for trial in range(asked.first, asked.first + asked.trials):
            if (asked.seed, trial) in known:
                continue
            outcome = bench.play(draw(asked.seed, trial, asked.only))
            print(line(outcome), flush=True)
            trials.append(_trial(outcome))
            if path is not None:  # after each, so that a session that is cut off loses none
                path.write_text(json.dumps(results(trials), indent=2) + "\n")
    finally:
        processes.kill_all()
        bench.close()
    run = [trial for trial in trials if not trial["not_run"]]
    passed = sum(trial["passed"] for trial in run)
    print(f"{passed} of {len(run)} identical, {len(trials) - len(run)} not run", flush=True)
    return 0 if run and passed == len(run) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial, to play one again")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=[], metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--one-calm", action="store_true", help="one undisturbed run, on a disk, for every store")
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--patience", type=float, default=600, help="seconds that a trial may take")
    parser.add_argument("--out", help="file for the JSON; benchmarks/results/chaos.json where nothing is left out")
    parser.add_argument("--go-on", action="store_true", help="keep the trials that the JSON has, play the others")
    parser.add_argument("--keep", action="store_true", help="leave run folders and logs where they are")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    sys.exit(main())
