"""The command line: quick, and a user's mistake is one readable message with exit code 2."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.cli import JOBS
from tests.photos import make_run, make_tree

ROOT = Path(__file__).resolve().parents[2]


def farm(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from jobs.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def config(folder: Path, root: Path) -> Path:
    from farm.config import dump

    path = folder / "run.yaml"
    path.write_text(dump(make_run(root, folder / "out")))
    return path


def test_help_lists_every_job_and_answers_at_once() -> None:
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        done = farm("--help")
        seconds.append(time.perf_counter() - begun)
    assert done.returncode == 0
    assert all(f"  {name}" in done.stdout for name in JOBS)
    assert min(seconds) < 1


@pytest.mark.parametrize("name", sorted(JOBS))
def test_each_job_has_help_and_a_module_of_its_own(name: str) -> None:
    done = farm(name, "--help")
    assert done.returncode == 0, done.stderr
    module = subprocess.run(
        [sys.executable, "-m", f"jobs.{name.replace('-', '_')}", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "Usage:" in module.stdout


def test_a_wrong_setting_exits_2_with_one_message(tmp_path: Path) -> None:
    path = config(tmp_path, make_tree(tmp_path / "plates", train=3, test=1, shots=1))
    done = farm("run", str(path), "--set", "rows=-1")
    assert done.returncode == 2
    assert done.stderr.startswith(f"farm: {path}: 1 setting(s) are wrong")
    assert "rows: Input should be greater than 0 (got -1)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_folder_exits_2_and_says_what_it_should_hold(tmp_path: Path) -> None:
    path = config(tmp_path, make_tree(tmp_path / "plates", train=3, test=1, shots=1))
    done = farm("run", str(path), "--set", f"data.root={tmp_path}/nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "train/good" in done.stderr


def test_an_unknown_job_exits_2() -> None:
    done = farm("fly")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_plan_prints_json_and_writes_nothing(tmp_path: Path) -> None:
    path = config(tmp_path, make_tree(tmp_path / "plates"))
    done = farm("plan", str(path), "--json")
    value = json.loads(done.stdout)
    assert value["rows"] == 10
    assert value["photographs"] == {"train": 12, "few_shot": 2, "test": 8, "refused": 0}
    assert len(value["first_rows"]) == 5
    assert not (tmp_path / "out").exists()


def test_doctor_speaks_of_every_check() -> None:
    done = farm("doctor", "--json")
    assert {check["name"] for check in json.loads(done.stdout)} >= {"python", "packages", "weights", "disk"}
