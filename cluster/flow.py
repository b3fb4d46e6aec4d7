"""A whole run, phase by phase: fit → invert → generate → judge → train → evaluate → report. Each skips what is done.

Ray is joined only when something is missing, so a finished run is answered from its folder in seconds. The seconds of
each phase that did work are kept in ``timing.json``.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from cluster import pipeline, resources, session
from cluster.progress import Progress, Report
from cluster.resume import Work, until_done
from farm import attempts, rounds
from farm.config import Run
from farm.errors import RunError
from farm.fitting.adapters import fitted_arms, is_current
from farm.lease import Lease
from farm.prepare import prepare
from farm.rows import MADE
from farm.run_folder import RunFolder
from farm.stages.invert import InversionBlocks, needs_inversion
from farm.stages.photo_vectors import PhotoVectors
from farm.stages.tentative import Tentative

KEEP_S = 2.0  # between two writes of progress.json
STAGES: tuple[Literal["stage1", "stage2"], ...] = ("stage1", "stage2")


class Flow:
    """One run's phases. Build it once; call phases in order, or ``all``, inside ``with`` to hold the run's lease."""

    def __init__(self, run: Run, progress: Progress, command: str = "") -> None:
        if run.cluster.address is None:
            resources.check(run, partial(resources.local_resources, run.cluster))
        self.folder, self.plan = prepare(run)
        self.run, self.progress, self.command = run, progress, command
        self.url = self.folder.store.root
        self.driver = uuid.uuid4().hex  # names this call in the attempts that it asks for
        self.lease: Lease | None = None

    def __enter__(self) -> "Flow":
        """Take the run's lease; ``RunError`` where another driver is at work on it."""
        self.lease = Lease.take(self.folder.store, self.command)
        self.lease.keep()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give the lease back. Attempts of a driver that was told to stop are nobody's fault."""
        if kind is not None and not issubclass(kind, Exception):
            attempts.stop(self.folder.store, self.driver)
        if self.lease is not None:
            self.lease.release()
            self.lease = None

    def all(self) -> dict[str, Any]:
        """Every phase in order; returns the numbers of the run."""
        self.fit()
        self.invert()
        self.generate()
        self.judge()
        self.train()
        self.evaluate()
        return self.report()

    def fit(self) -> None:
        """Train the adapter of every arm that learns; afterwards the folder knows their checksums."""
        from cluster.fit_arms import fit_arm

        fitted = False
        for arm, method in fitted_arms(self.run).items():
            assert method.fit is not None
            work = 0 if is_current(self.run, self.plan.photos, arm) else method.fit.loop.steps
            with self._phase(f"fit {arm}", work, "steps"):
                if work:
                    fit_arm(self.run, self.plan.photos, arm, lambda step, _: self.progress.advance(step, {}))
                    fitted = True
        if fitted:
            self.folder, self.plan = prepare(self.run)

    def invert(self) -> None:
        """Invert the sources of every arm that replays trajectories."""
        for arm, method in zip(self.run.arm_names(), self.run.methods, strict=True):
            if needs_inversion(method):
                self._invert(arm)

    def _invert(self, arm: str) -> None:
        blocks = InversionBlocks(self.folder, self.plan, arm, self.folder.fingerprints()["model"])

        def missing() -> list[int]:
            return [block for block in range(len(blocks)) if not blocks.is_done(block)]

        self._work(f"invert {arm}", "blocks", missing, partial(pipeline.invert, self.run, self.url, arm))

    def _work(self, name: str, unit: str, missing: Callable[[], list[int]], work: Work) -> None:
        """A phase that works on units until none is missing."""
        left = missing()
        with self._phase(name, len(left), unit) as report:
            until_done(left, missing, work, report, f"{self.url}: {name}", self.progress.note)

    def generate(self) -> None:
        """Generate, embed and write the missing shards; a hopeless run ends with its reasons."""
        for number in range(self.plan.round_count):
            missing = partial(self.missing_shards, self.plan.round_shards(number))
            if not rounds.is_decided(self.folder, number) and missing():
                self._decide(number)
            name = "generate" if self.plan.round_count == 1 else f"generate round {number}"
            self._work(name, "shards", missing, self._generate)
        check_failures(self.folder, self.run)

    def _decide(self, number: int) -> None:
        """Let the plan know the shares of round ``number``, from the verdicts on the rounds before it."""
        from cluster.settle import decide

        self._judge_rows([shard for earlier in range(number) for shard in self.plan.round_shards(earlier)])
        with self._phase(f"decide round {number}", 1, "rounds"):
            decide(self.run, self.url, number)
        self.plan = rounds.open_plan(self.folder, self.run, self.plan.photos, self.folder.fingerprints()["model"])

    def _generate(self, shards: Sequence[int], report: Report) -> None:
        pipeline.generate(self.run, self.url, shards, self.driver, self._bounded(report))

    def missing_shards(self, among: Sequence[int] | None = None) -> list[int]:
        """The shards that are not committed, in order; of all, or of those ``among`` which one looks."""
        return sorted(set(range(self.plan.shard_count) if among is None else among) - self.folder.done_shards())

    def _bounded(self, report: Report) -> Report:
        """``report``, which ends a hopeless run early: with the first rows that the failure budget does not allow."""
        before, most = failures(self.folder), self.run.max_failed_fraction * self.run.rows

        def tell(finished: int, counts: dict[str, int]) -> None:
            report(finished, counts)
            if before + counts.get("failed", 0) + counts.get("poisoned", 0) > most:
                check_failures(self.folder, self.run)

        return tell

    def judge(self) -> None:
        """Embed the photographs, judge every candidate, settle duplicates and quotas over the whole run."""
        judged = self.folder.store.exists(self.folder.verdict_name("verdicts.parquet"))
        if judged:
            Tentative(self.folder).clear()  # what a driver left that died just then
        self._judge_rows([] if judged else range(self.plan.shard_count))
        with self._phase("settle", 0 if judged else self.run.rows, "rows"):
            if not judged:
                from cluster.settle import settle

                settle(self.run, self.url)

    def _judge_rows(self, shards: Sequence[int]) -> None:
        """Tentative verdicts on the rows of ``shards``."""
        vectors, tentative = PhotoVectors(self.folder, self.plan.photos), Tentative(self.folder)

        self._work("embed photographs", "blocks", vectors.missing, partial(pipeline.embed_photos, self.run, self.url))
        missing = partial(tentative.missing, shards)
        self._work("judge", "shards", missing, partial(pipeline.judge, self.run, self.url))

    def train(self) -> None:
        """Stage 1 on streamed rule-based images, stage 2 on kept generated ones."""
        from cluster.train import is_trained, train_stage

        for stage in STAGES:
            done = is_trained(self.run, self.folder, stage)
            with self._phase(f"train {stage}", 0 if done else 1, "stage"):
                if not done:
                    train_stage(self.run, self.folder, stage)

    def evaluate(self) -> None:
        """Score the test photographs with both stages' detectors."""
        from cluster.evaluate import evaluate_stage, is_evaluated

        metrics = self.folder.read_json("metrics.json") if self.folder.store.exists("metrics.json") else {}
        for stage in STAGES:
            done = stage in metrics and is_evaluated(self.run, self.folder, stage)
            with self._phase(f"evaluate {stage}", 0 if done else 1, "stage"):
                if not done:
                    metrics[stage] = evaluate_stage(self.run, self.folder, stage)
                    self.folder.write_json("metrics.json", metrics)

    def report(self) -> dict[str, Any]:
        """Write the ledger and the page; returns counts, metrics and where the page is."""
        from farm.report import build_report
        from farm.run_ledger import write_ledger

        counts = write_ledger(self.folder)
        page = build_report(self.folder)
        metrics = self.folder.read_json("metrics.json") if self.folder.store.exists("metrics.json") else {}
        return {"run": self.url, "report": page, "counts": counts, "metrics": metrics}

    def _phase(self, name: str, work: int, unit: str) -> "_Phase":
        return _Phase(self, name, work, unit)


class _Phase:
    """Joins Ray when there is work, shows progress, and keeps the seconds of phases that did something."""

    def __init__(self, flow: Flow, name: str, work: int, unit: str) -> None:
        self.flow, self.name, self.work, self.unit = flow, name, work, unit

    def __enter__(self) -> Report:
        self.flow.progress.start(self.name, self.work, self.unit)
        if self.work:
            session.connect(self.flow.run.cluster)
            resources.check(self.flow.run, session.available)
        self.begun = self.kept = time.perf_counter()
        return self.advance

    def advance(self, finished: int, counts: dict[str, int]) -> None:
        """Show progress, keep it where ``farm status`` reads it, and stop where another driver took the run over."""
        self.flow.progress.advance(finished, counts)
        if self.flow.lease is not None:
            self.flow.lease.check()
        now = time.perf_counter()
        if now - self.kept > KEEP_S or finished == self.work:
            self.kept = now
            self.flow.folder.write_json("progress.json", self._told(finished, counts, now - self.begun))

    def _told(self, finished: int, counts: dict[str, int], seconds: float) -> dict[str, Any]:
        told = {"phase": self.name, "finished": finished, "work": self.work, "unit": self.unit, "counts": counts}
        return {**told, "seconds": round(seconds, 2), "driver": self.flow.driver, "at": time.time()}

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        seconds = time.perf_counter() - self.begun
        self.flow.progress.finish(self.name, seconds, ok=kind is None)
        if self.work and kind is None:
            keep_seconds(self.flow.folder, self.name, seconds, self.work)


def keep_seconds(folder: RunFolder, name: str, seconds: float, units: int) -> None:
    """Put a phase's seconds into timing.json, replacing those of the same phase."""
    phases = folder.read_json("timing.json")["phases"] if folder.store.exists("timing.json") else []
    kept = [phase for phase in phases if phase["name"] != name]
    folder.write_json("timing.json", {"phases": [*kept, {"name": name, "seconds": round(seconds, 2), "rows": units}]})


def failures(folder: RunFolder) -> int:
    """Rows of the committed shards that failed or were poisoned."""
    return sum(int(marker["failed"]) + int(marker["poisoned"]) for marker in folder.markers().values())


def check_failures(folder: RunFolder, run: Run) -> None:
    """Raise ``RunError`` where more rows failed than ``max_failed_fraction`` allows, with the commonest reasons."""
    failed = failures(folder)
    if failed <= run.max_failed_fraction * run.rows:
        return
    reasons: dict[str, int] = {}
    for table in folder.candidates(["status", "error"]):
        for row in table.to_pylist():
            if row["status"] != MADE:
                reasons[row["error"]] = reasons.get(row["error"], 0) + 1
    worst = sorted(reasons.items(), key=lambda item: -item[1])[:5]
    allowed = run.max_failed_fraction
    raise RunError(
        f"{folder.store.root}: {failed} of {run.rows} rows failed, above max_failed_fraction={allowed}\n"
        + "\n".join(f"  {count} x {reason}" for reason, count in worst)
        + f"\nMend the cause, then 'farm verify {folder.store.root} --repair --failed' and the same command again, "
        "or raise max_failed_fraction"
    )
