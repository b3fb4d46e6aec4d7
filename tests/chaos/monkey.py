"""Strikes: one function for each family of blows. Each says what it hit, or "" where there is no victim yet."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import psutil

from tests.chaos import processes
from tests.chaos.compare import MARKER, PART, committed, shard_folder
from tests.chaos.driver import Driver
from tests.chaos.nodes import Nodes
from tests.chaos.places import Place
from tests.chaos.scenario import CORRUPTIONS, POOLS, Blow

T = TypeVar("T")
FLIPPED_BYTES = 16
Later = Callable[[float, Callable[[], None]], None]  # (seconds from now, what to do then)


@dataclass
class Scene:
    """What a blow may hit."""

    place: Place
    nodes: Nodes
    drivers: list[Driver]  # the last one is the run's; others were started beside it
    start_second: Callable[[], None]
    later: Later
    headless: bool = False  # the head was killed: cluster and driver have to be started again
    corrupted: list[int] = field(default_factory=list)  # shards


def strike(blow: Blow, scene: Scene) -> str:
    """Do it."""
    if blow.kind in CORRUPTIONS:
        return _corrupt(blow, scene)
    if blow.kind.startswith("kill_") and (pool := blow.kind.removeprefix("kill_").capitalize()) in POOLS:
        return _signal(processes.actors(pool), blow, signal.SIGKILL)
    return {
        "stop_actor": _stop_actor,
        "kill_node": _kill_node,
        "kill_driver": _kill_driver,
        "term_driver": _term_driver,
        "kill_head": _kill_head,
        "fill_disk": _break,
        "cut_store": _break,
        "second_driver": _second_driver,
    }[blow.kind](blow, scene)


def _stop_actor(blow: Blow, scene: Scene) -> str:
    victim = picked(processes.actors(blow.how), blow.pick)
    if victim is None or not processes.send(victim, signal.SIGSTOP):
        return ""

    def go_on() -> None:
        processes.send(victim, signal.SIGCONT)

    scene.later(blow.hold_s, go_on)
    return f"pid {victim.pid} for {blow.hold_s} s"


def _kill_node(blow: Blow, scene: Scene) -> str:
    hit = _signal(processes.raylets(scene.nodes.session, head=False), blow, signal.SIGKILL)
    if hit:
        scene.later(blow.hold_s, scene.nodes.add)
    return hit


def _kill_driver(blow: Blow, scene: Scene) -> str:
    return scene.drivers[-1].send(signal.SIGKILL)


def _term_driver(blow: Blow, scene: Scene) -> str:
    return scene.drivers[-1].send(signal.SIGTERM)


def _kill_head(blow: Blow, scene: Scene) -> str:
    found, driver = processes.heads(scene.nodes.session), scene.drivers[-1]
    if not found or not driver.running:
        return ""
    for process in found:
        processes.send(process, signal.SIGKILL)
    scene.headless = True
    scene.later(blow.hold_s / 2, lambda: _end(driver))
    return ", ".join(f"pid {process.pid}" for process in found)


def _end(driver: Driver) -> None:
    driver.send(signal.SIGKILL)


def _break(blow: Blow, scene: Scene) -> str:
    scene.place.break_(blow.how)
    scene.later(blow.hold_s, scene.place.mend)
    return f"for {blow.hold_s} s"


def _second_driver(blow: Blow, scene: Scene) -> str:
    if not scene.drivers[-1].running:
        return ""
    scene.start_second()
    return "started"


def _corrupt(blow: Blow, scene: Scene) -> str:
    whole = set(scene.place.names("candidates"))  # a part that an earlier blow took cannot be struck again
    shard = picked([one for one in committed(scene.place) if f"{shard_folder(one)}/{PART}" in whole], blow.pick)
    if shard is None:
        return ""
    name = f"{shard_folder(shard)}/{MARKER if blow.kind == 'delete_marker' else PART}"
    if blow.kind.startswith("delete_"):
        scene.place.delete(name)
    else:
        scene.place.write(name, damaged(scene.place.read(name), blow))
    scene.corrupted.append(shard)
    return name


def damaged(data: bytes, blow: Blow) -> bytes:
    """``data`` with some bytes changed, or without its end; where is drawn by ``blow.pick``."""
    at = int(blow.pick * (len(data) - FLIPPED_BYTES))
    if blow.kind == "truncate_part":
        return data[:at]
    changed = bytes(value ^ 0xFF for value in data[at : at + FLIPPED_BYTES])
    return data[:at] + changed + data[at + FLIPPED_BYTES :]


def picked(found: Sequence[T], pick: float) -> T | None:
    """The one of ``found`` that ``pick`` in [0, 1) names; None where there is none."""
    return found[int(pick * len(found))] if found else None


def _signal(found: list[psutil.Process], blow: Blow, what: signal.Signals) -> str:
    victim = picked(found, blow.pick)
    return f"pid {victim.pid}" if victim is not None and processes.send(victim, what) else ""
