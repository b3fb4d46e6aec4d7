"""A driver that is told to stop (``ray job stop``, a drained node, Ctrl-C) gives its run back at once."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farm.lease import NAME, read_lease
from farm.store import Store
from tests.photos import make_run, make_tree

DRIVER = """
import signal, sys, time
import click
from cluster.flow import Flow
from cluster.progress import Silent
from farm.config import Run
from jobs.cli import run_command

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts with & ignore Ctrl-C
settings = Run.model_validate_json(sys.argv.pop())

@click.command()
def command():
    with Flow(settings, Silent(), "farm run") as flow:
        print(flow.driver, flush=True)
        time.sleep(600)

run_command(command)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_driver_told_to_stop_gives_its_lease_back_and_blames_nobody(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = make_run(make_tree(tmp_path / "plates"), tmp_path / "run")
    started = subprocess.Popen(
        [sys.executable, "-c", DRIVER, run.model_dump_json()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert started.stdout is not None
    driver, store = started.stdout.readline().strip(), Store(run.output)
    holder = read_lease(store)
    assert holder is not None
    assert (holder.pid, holder.command) == (started.pid, "farm run")
    begun = time.monotonic()
    started.send_signal(number)
    _, said = started.communicate(timeout=60)
    assert time.monotonic() - begun < 3  # what 'ray job stop' waits before it kills
    assert (started.returncode, said.strip().startswith("farm: stopped")) == (code, True)
    assert not store.exists(NAME)
    assert json.loads(store.read("attempts/stopped.json")) == [driver]


def test_a_driver_that_is_killed_leaves_a_lease_that_the_next_one_takes_over_at_once(tmp_path: Path) -> None:
    run = make_run(make_tree(tmp_path / "plates"), tmp_path / "run")
    command = [sys.executable, "-c", DRIVER, run.model_dump_json()]
    for _ in range(2):  # the second finds the first one's lease
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as started:
            assert started.stdout is not None
            assert len(started.stdout.readline().strip()) == 32
            started.kill()
    assert read_lease(Store(run.output)) is not None
