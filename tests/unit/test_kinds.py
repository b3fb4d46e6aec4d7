"""Normals are not defects: what keeps the two apart from the plan to the training images (card 002, 7.7)."""

from pathlib import Path

import pytest

from farm.config import VariationalConfig
from farm.datasets import load_photos
from farm.detector.materials import read_kept, read_kept_normals
from farm.plan import GOOD, Plan
from farm.verify import touched
from tests.photos import make_run, make_tree

METHODS = [{"kind": "rules"}, {"kind": "variational", "sources": 5}]


def test_the_rows_of_variational_are_planned_as_normals(tmp_path: Path) -> None:
    run = make_run(make_tree(tmp_path / "plates"), tmp_path / "run", methods=METHODS)
    plan = Plan(run, load_photos(run.data), "m")
    rows = [plan.row(number) for number in range(20)]
    assert {(row["method"], row["kind"]) for row in rows} == {("rules", "defect"), ("variational", "normal")}
    normals = [row for row in rows if row["kind"] == "normal"]
    assert {row["defect"] for row in normals} == {GOOD}
    assert {row["prompt"] for row in normals} == {run.prompts.normal}
    assert len(plan.sources["variational"]) == 5


def test_every_pixel_of_a_generated_normal_may_be_new() -> None:
    import numpy as np

    assert touched(np.zeros((4, 4), np.uint8), VariationalConfig()).all()


def test_guide_and_judge_are_two_models() -> None:
    with pytest.raises(ValueError, match="judge must be another model than guide"):
        VariationalConfig.model_validate({"judge": {"kind": "open_clip", "model": "embedded"}})
    with pytest.raises(ValueError, match="guide must read text"):
        VariationalConfig.model_validate({"guide": {"kind": "efficientnet_lite0"}})


class Folder:
    """Stands for a judged run folder: gives the kept rows it was given."""

    def __init__(self, tables: list[object]) -> None:
        self.tables = tables

    def kept(self, columns: list[str]) -> list[object]:
        return [table.select(list(columns)) for table in self.tables]  # type: ignore[attr-defined]


def test_a_runs_kept_rows_part_into_defects_and_normals() -> None:
    from tests.unit.detector.test_feed import rows

    folder = Folder([rows(["normal", "defect"]), rows(["normal", "normal", "defect"])])
    kept = read_kept(folder)  # type: ignore[arg-type]
    assert len(kept) == 2
    assert len(kept.groups) == 1
    assert len(read_kept_normals(folder)) == 3  # type: ignore[arg-type]
    assert read_kept_normals(Folder([rows(["defect"])])) == []  # type: ignore[arg-type]
