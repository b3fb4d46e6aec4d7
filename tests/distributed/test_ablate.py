"""An ablation on Ray is the one in this process, and ``farm ablate`` prints its table."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cluster.ablate import ablate
from farm.ablate import STAGE1, train_arm
from farm.ablation_table import NORMALS, score_arm
from farm.config import Run
from farm.run_folder import RunFolder
from jobs.ablate import command
from tests.loop import run_in_a_loop
from tests.photos import make_run, make_tree

pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(600)]


def judged(root: Path, output: Path) -> Run:
    stage = {"steps": 2, "batch_size": 4}
    train: dict[str, Any] = {"detector": {"width": 4}, "stage1": stage, "stage2": {**stage, "lr": 1e-4}}
    run = make_run(root, output, embed={"kind": "pixels"}, filter={"low_margin": 0.9}, train=train)
    run_in_a_loop(run)
    return run


def test_arms_on_ray_are_the_arms_in_this_process(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates", test=2)
    here, there = (judged(root, tmp_path / name) for name in ("here", "there"))
    folder, told = RunFolder(here.output), []
    for arm in (STAGE1, "rules", "filtered"):
        train_arm(here, folder, arm, 5)
    wanted = {(arm, 5): score_arm(here, folder, arm, 5) for arm in (NORMALS, "rules", "filtered")}
    found = ablate(there, there.output, [NORMALS, "rules", "filtered"], [5], told.append)
    assert found == wanted
    assert len(told) == 3
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(there.model_dump(mode="json")))
    shown = CliRunner().invoke(command, [str(config), "--json", "--without", "few_shot", "--without", "generated"])
    assert shown.exit_code == 0, shown.output
    table = json.loads(shown.stdout)
    assert [line["arm"] for line in table["arms"]] == ["normals", "rules", "half", "filtered", "unfiltered"]
    assert "half of the kept images" in table["advice"]
    assert RunFolder(there.output).read_json("ablation/table.json") == table
