"""``farm fit-all`` on a real local Ray: pairs train side by side, a bad one stops no other, a second call skips."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cluster.fit_all import fit_all
from farm.config import Run
from farm.datasets import load_photos
from farm.fitting.adapters import adapter_sums, is_current
from jobs.fit_all import command
from tests.photos import make_run, make_tree
from tests.tiny import tiny_backbone_folder

pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(600)]

LOOP = {"steps": 3, "batch_size": 2, "lr": 1e-3, "warmup": 1, "checkpoint_every": 2, "bf16": False}
AWARE = {"kind": "background_aware", "steps": 3, "sources": 4, "min_visible": 0, "fit": {"rank": 2, "loop": LOOP}}
CONTROL = {"kind": "adabldm", "steps": 10, "sources": 4, "min_visible": 0, "fit": {"loop": LOOP}}


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[tuple[str, Run]]]:
    """A config with two arms and one that has no photograph of its defect; paths are relative, as people write them."""
    before = Path.cwd()
    model = {"path": str(tiny_backbone_folder(tmp_path / "model"))}
    make_tree(tmp_path / "plates")
    os.chdir(tmp_path)
    made = []
    for name, methods, defect in (("blank", [AWARE], "scratch"), ("whole", [AWARE, CONTROL], "disc")):
        data = {"kind": "mvtec", "root": "plates", "category": name}
        prompts = {"normal": "a plate", "defects": [{"name": defect, "prompt": f"a {defect}"}]}
        run = make_run(Path("plates"), Path(name), methods=methods, model=model, prompts=prompts, data=data)
        Path(f"{name}.yaml").write_text(yaml.safe_dump(run.model_dump(mode="json")))
        made.append((f"{name}.yaml", run))
    yield made
    os.chdir(before)


def farm(*arguments: str) -> tuple[Result, Any]:
    done = CliRunner().invoke(command, [*arguments, "--json"])
    return done, json.loads(done.stdout)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_pairs_train_side_by_side_and_a_second_call_skips_them(runs: list[tuple[str, Run]]) -> None:
    log: list[str] = []
    board = fit_all(runs, None, log.append)
    rows = {row["name"]: row for row in board.results()}
    assert {name: (row["state"], row["step"]) for name, row in rows.items()} == {
        "blank/background_aware": ("failed", 0),
        "whole/background_aware": ("done", 3),
        "whole/adabldm": ("done", 3),
    }
    assert rows["blank/background_aware"]["reason"].startswith("blank: no few-shot photograph to learn from")
    assert all(row["loss"] > 0 and row["shots"] == 2 for name, row in rows.items() if name.startswith("whole"))
    states = [line.split()[1].strip(":,") for line in log if line.startswith("whole/")]
    assert states == ["running", "running", "done", "done"]  # both, before either ended

    whole = runs[1][1]
    photos = load_photos(whole.data)
    assert all(is_current(whole, photos, arm) for arm in ("background_aware", "adabldm"))
    settled = yaml.safe_load((Path(whole.output) / "run.yaml").read_text())["fingerprints"]
    assert {f"adapter {arm}": checksum for arm, checksum in adapter_sums(whole).items()}.items() <= settled.items()

    before = files(Path(whole.output) / "adapters")
    ended, told = farm("blank.yaml", "whole.yaml", "--at-once", "1")
    assert told["counts"] == {"failed": 1, "skipped": 2}
    assert "1 of 3 pairs failed" in str(ended.exception)
    assert "blank/background_aware: blank: no few-shot photograph to learn from" in str(ended.exception)
    ended, told = farm("whole.yaml")
    assert (ended.exit_code, told["counts"]) == (0, {"skipped": 2})
    assert [row["loss"] for row in told["pairs"]] == [rows[row["name"]]["loss"] for row in told["pairs"]]
    assert files(Path(whole.output) / "adapters") == before
