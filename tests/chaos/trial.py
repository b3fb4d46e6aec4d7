"""One trial: play a scenario as a supervisor that starts again what died, then recount and compare."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import processes
from tests.chaos.compare import Difference, Seen, committed, compare, look
from tests.chaos.driver import ROOT, Driver
from tests.chaos.monkey import Scene, strike
from tests.chaos.nodes import Nodes
from tests.chaos.places import Place
from tests.chaos.scenario import Blow, Scenario

POLL_S = 0.15
STARTS = 25  # of the driver, in one trial
CLUSTERS = 10
PAUSES_S = (1, 2, 4, 8)  # before the driver is started again; the last one from there on
TERM_PATIENCE_S = 60
SECOND_PATIENCE_S = 90
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 would starve the actors on a machine that does other things too
    "RAY_agent_register_timeout_ms": "180000",  # a busy machine is slow to start Ray's own helpers
    "OMP_NUM_THREADS": "1",
}


class LostError(Exception):
    """The run did not come to its end; the message says where."""


@dataclass
class Outcome:
    """What became of a trial."""

    scenario: Scenario
    struck: dict[str, int] = field(default_factory=dict)  # kind → how often it hit something
    told: list[str] = field(default_factory=list)  # what happened, in order
    problems: list[str] = field(default_factory=list)  # what should not have happened
    difference: Difference | None = None  # None: there is nothing to compare
    starts: int = 0
    seconds: float = 0.0
    not_run: str = ""  # why it could not be run here

    @property
    def passed(self) -> bool:
        """Whether it ran, ended, and the dataset is the undisturbed one."""
        return not self.problems and not self.not_run and self.difference is not None and self.difference.identical


@dataclass
class _Pending:
    blow: Blow
    due: float | None = None  # when it strikes, known once its progress is reached


class Trial:
    """Plays ``scenario`` on ``place`` with the config at ``config``; ``shards`` is how many the run has."""

    def __init__(self, scenario: Scenario, place: Place, config: Path, shards: int, folder: Path, patience_s: float):
        self.scenario, self.place, self.config = scenario, place, config
        self.shards, self.folder, self.patience_s = shards, folder, patience_s
        self.outcome = Outcome(scenario)
        self.pending = [_Pending(blow) for blow in scenario.blows]
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._clusters = 0
        self._ours: set[int] = set()  # processes whose exit is read elsewhere than in ``processes.reap``

    def play(self, wanted: Seen | None) -> Outcome:
        """All of it. ``wanted`` is the undisturbed dataset; None leaves the comparison out."""
        self.begun = time.monotonic()
        self.until = self.begun + self.patience_s
        try:
            self.scene = Scene(self.place, self._cluster(), [], self._start_second, self._in)
            self._run()
            self._end_others()
            if self.scene.corrupted:
                if (code := self._repair()) not in (0, 1):
                    raise LostError(f"verify --repair ended with {code}")
                self._run()
            self._verify()
        except LostError as error:
            self.outcome.problems.append(str(error))
        finally:
            self.place.mend()
            if left := processes.kill_all():
                self.outcome.problems.append(f"would not die: {'; '.join(left)}")
        if wanted is not None:
            self.outcome.difference = compare(wanted, look(self.place))
        self.outcome.seconds = time.monotonic() - self.begun
        return self.outcome

    # the supervisor

    def _run(self) -> None:
        """Start the driver, again and again, until it ends well and every blow has struck or has no victim left."""
        while True:
            self._start()
            code = self._watch()
            self._say(f"driver ended with {code}")
            if code == 0:
                self._strike_rest()
                self.place.mend()
                return
            if self.scene.headless:
                self.scene.nodes, self.scene.headless = self._cluster(), False
            elif self.scene.corrupted and code not in (-signal.SIGKILL, -signal.SIGTERM):
                self._repair()
            self._wait(PAUSES_S[min(self.outcome.starts, len(PAUSES_S)) - 1])

    def _watch(self) -> int:
        """Strike what is due while the driver runs; its exit code."""
        driver = self.scene.drivers[-1]
        while (code := driver.process.poll()) is None:
            self._tick()
            self._strike_due()
            if time.monotonic() > self.until:
                raise LostError(f"not done after {self.patience_s:.0f} s; the driver says: {driver.last_words()}")
        return code

    def _tick(self) -> None:
        """A moment passes: what was put off is done, and the dead are collected."""
        time.sleep(POLL_S)
        now = time.monotonic()
        due = [act for when, act in self._later if when <= now]
        self._later = [(when, act) for when, act in self._later if when > now]
        for act in due:
            act()
        processes.reap({driver.process.pid for driver in self.scene.drivers} | self._ours)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._tick()

    def _in(self, seconds: float, act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, act))

    # blows

    def _strike_due(self) -> None:
        if not self.pending:
            return
        done = len(committed(self.place)) / self.shards
        for one in list(self.pending):
            if one.due is None and done >= one.blow.at:
                one.due = time.monotonic() + one.blow.delay_s
            if one.due is not None and time.monotonic() >= one.due:
                self._strike(one)

    def _strike(self, one: _Pending) -> None:
        hit = strike(one.blow, self.scene)
        if hit:
            self.pending.remove(one)
            self.outcome.struck[one.blow.kind] = self.outcome.struck.get(one.blow.kind, 0) + 1
            self._say(f"{one.blow}: {hit}")
        if hit and one.blow.kind == "term_driver":
            self._in(TERM_PATIENCE_S, self._refuse_to_wait(self.scene.drivers[-1]))

    def _strike_rest(self) -> None:
        """After the run's end only parts can still be hit; every other blow that is left had no victim."""
        for one in list(self.pending):
            self._strike(one)
            if one in self.pending:
                self.pending.remove(one)
                self._say(f"{one.blow}: no victim")

    def _refuse_to_wait(self, driver: Driver) -> Callable[[], None]:
        def refuse() -> None:
            if driver.send(signal.SIGKILL):
                self.outcome.problems.append(f"the driver still ran {TERM_PATIENCE_S} s after SIGTERM")

        return refuse

    # processes

    def _cluster(self) -> Nodes:
        """A cluster that is ready. On a busy machine Ray gives up after 30 s, so it is tried more than once."""
        environment = {**_environment(), **self.place.environment}
        while True:
            self._clusters += 1
            nodes = Nodes(self.scenario.nodes, self.folder / f"r{self._clusters}", environment, ROOT)
            self._ours |= {nodes.holder.pid} if nodes.holder else set()
            try:
                self.address = nodes.ready(self.patience_s)
            except RuntimeError as error:
                if self._clusters >= CLUSTERS or time.monotonic() > self.until:
                    raise LostError(str(error)) from error
            else:
                return nodes

    def _start(self) -> None:
        if self.outcome.starts >= STARTS:
            raise LostError(f"the driver was started {STARTS} times; it says: {self.scene.drivers[-1].last_words()}")
        self.outcome.starts += 1
        log = self.folder / f"generate-{self.outcome.starts}.log"
        self.scene.drivers.append(self._driver("generate", [str(self.config), *self._settings()], log))

    def _settings(self) -> list[str]:
        settings = ["--set", f"output={self.place.url}"]
        return settings if self.address is None else [*settings, "--set", f"cluster.address={self.address}"]

    def _start_second(self) -> None:
        log = self.folder / f"second-{time.monotonic():.0f}.log"
        second = self._driver("generate", [str(self.config), *self._settings()], log)
        self.scene.drivers.insert(0, second)
        first = self.scene.drivers[-1]

        def check() -> None:
            if second.running:
                self._in(POLL_S, check)
            elif second.process.returncode == 0 and first.running and not first.log.read_text().count("planned"):
                self.outcome.problems.append("a second driver ended well while the first still ran")
            else:
                self._say(f"second driver ended with {second.process.returncode}: {second.last_words(200)}")

        check()

    def _end_others(self) -> None:
        """Drivers that were started beside the run's: they may wait, but not for ever."""
        for driver in self.scene.drivers:
            if driver.running and driver.wait(SECOND_PATIENCE_S) is None:
                self.outcome.problems.append(f"a second driver still ran {SECOND_PATIENCE_S} s after the run's end")

    def _driver(self, job: str, arguments: list[str], log: Path) -> Driver:
        return Driver(job, arguments, self.scene.nodes.environment, log)

    # the recount

    def _repair(self) -> int | None:
        """What a person does who is told of damage; the exit code. 1 says that damage was found."""
        code, words = self._recount("--repair")
        self._say(f"verify --repair ended with {code}: {words[-300:]}")
        return code

    def _verify(self) -> None:
        code, words = self._recount()
        if code != 0:
            self.outcome.problems.append(f"verify ended with {code}: {words}")

    def _recount(self, *options: str) -> tuple[int | None, str]:
        log = self.folder / f"verify{len(list(self.folder.glob('verify*')))}.log"
        driver = self._driver("verify", [self.place.url, *options], log)
        while driver.running and time.monotonic() < self.until:
            self._tick_beside(driver)
        return driver.wait(0.1), driver.last_words()

    def _tick_beside(self, driver: Driver) -> None:
        self._ours.add(driver.process.pid)
        self._tick()

    def _say(self, what: str) -> None:
        self.outcome.told.append(f"{time.monotonic() - self.begun:6.1f} s  {what}")


def _environment() -> dict[str, str]:
    """This process's, without what would lead elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    return kept | ENVIRONMENT
