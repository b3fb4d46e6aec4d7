"""An adaptive budget on Ray: rounds follow each other, and the dataset is that of a plain loop."""

from pathlib import Path

import pytest

from cluster.flow import Flow
from cluster.progress import Silent
from farm.config import Run
from farm.parts import to_parquet
from farm.run_folder import RunFolder
from tests.loop import run_in_a_loop
from tests.photos import make_learning_run, make_tree

pytestmark = pytest.mark.usefixtures("ray_local")


def learning(root: Path, output: Path) -> Run:
    return make_learning_run(root, output, rows=32, round_rows=16)


def test_rounds_on_ray_make_what_rounds_in_a_loop_make(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates")
    run_in_a_loop(learning(root, tmp_path / "loop"))
    flow = Flow(learning(root, tmp_path / "ray"), Silent(), "farm generate")
    with flow:
        flow.generate()
        flow.judge()
    loop, here = RunFolder(str(tmp_path / "loop")), flow.folder
    assert here.read_json("budget/round-000001.json") == loop.read_json("budget/round-000001.json")
    for shard in range(4):
        assert to_parquet(here.read_shard(shard)) == to_parquet(loop.read_shard(shard))
    assert to_parquet(here.verdicts()) == to_parquet(loop.verdicts())
