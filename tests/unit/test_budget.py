"""A budget that learns: good arms get the rows, defects keep their shares, and all of it is a function."""

import json
from collections import Counter
from pathlib import Path

import pytest

from farm import rounds
from farm.budget import Tally, next_shares
from farm.config import BudgetConfig, Run
from farm.datasets import load_photos
from farm.errors import ConfigError, RunError
from farm.parts import to_batch
from farm.plan import Plan
from farm.prepare import prepare
from farm.run_folder import RunFolder
from farm.verify import verify
from tests.loop import run_in_a_loop
from tests.photos import make_learning_run, make_run, make_tree

DEFECTS = [{"name": "disc", "prompt": "a plate with a disc"}, {"name": "hole", "prompt": "a plate with a hole"}]
PROMPTS = {"normal": "a photo of a plate", "defects": DEFECTS}
ROUND = 32


def learning(root: Path, output: Path, rows: int = 3 * ROUND, round_rows: int = ROUND) -> Run:
    return make_learning_run(root, output, rows, round_rows, prompts=PROMPTS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"))


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    output = tmp_path_factory.mktemp("runs") / "run"
    run_in_a_loop(learning(root, output))
    return RunFolder(str(output))


class TestShares:
    ARMS = ("good", "bad", "dear")
    TALLIES = {  # noqa: RUF012
        ("good", "disc"): Tally(40, 30, 40.0),
        ("bad", "disc"): Tally(40, 4, 40.0),
        ("dear", "disc"): Tally(40, 36, 400.0),
    }

    def shares(self, **change: object) -> dict[str, float]:
        return next_shares(BudgetConfig(**change), self.TALLIES, self.ARMS, "disc", 1, 2)  # type: ignore[arg-type]

    def test_the_arm_that_keeps_most_for_its_cost_gets_the_rows(self) -> None:
        shares = self.shares(explore=0.15)
        assert shares["good"] == pytest.approx(0.9, abs=0.01)
        assert shares["bad"] == pytest.approx(0.05, abs=0.01)
        assert shares["dear"] == pytest.approx(0.05, abs=0.01)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)

    def test_the_same_tallies_give_the_same_shares(self) -> None:
        assert self.shares() == self.shares()

    def test_few_attempts_leave_it_open(self) -> None:
        tallies = {("good", "disc"): Tally(3, 2, 3.0), ("bad", "disc"): Tally(3, 1, 3.0)}
        shares = next_shares(BudgetConfig(), tallies, ("good", "bad"), "disc", 1, 1)
        assert 0.5 < shares["good"] < 0.9

    def test_an_arm_that_was_never_tried_is_tried(self) -> None:
        shares = next_shares(BudgetConfig(explore=0.0), self.TALLIES, (*self.ARMS, "new"), "disc", 1, 1)
        assert shares["new"] > 0.1
        assert next_shares(BudgetConfig(), {}, ("a", "b"), "disc", 1, 1) == {"a": 0.5, "b": 0.5}


class TestPlan:
    def test_defects_have_equal_shares_and_arms_those_of_the_round(self, root: Path, tmp_path: Path) -> None:
        run = learning(root, tmp_path / "run")
        shares = {"disc": {"specks": 0.25, "rules": 0.75}, "hole": {"specks": 1.0, "rules": 0.0}}
        plan = Plan(run, load_photos(run.data), "none", {1: shares})
        first = Counter(plan.asked(row) for row in range(ROUND))
        assert set(first.values()) == {ROUND // 4}
        second = Counter(plan.asked(row) for row in range(ROUND, 2 * ROUND))
        assert second == {("specks", "disc"): 4, ("rules", "disc"): 12, ("specks", "hole"): 16}
        asked = [plan.asked(row)[0] for row in range(2 * ROUND)]
        assert [plan.row(row)["method"] for row in range(2 * ROUND)] == asked

    def test_a_round_that_is_not_decided_has_no_rows_yet(self, root: Path, tmp_path: Path) -> None:
        run = learning(root, tmp_path / "run")
        plan = Plan(run, load_photos(run.data), "none")
        assert plan.row(ROUND - 1)
        with pytest.raises(RunError, match=f"row {ROUND}: its round 1 of the budget is not decided"):
            plan.row(ROUND)

    def test_rounds_are_ranges_of_shards(self, root: Path, tmp_path: Path) -> None:
        run = learning(root, tmp_path / "run", rows=2 * ROUND + 5)
        plan = Plan(run, load_photos(run.data), "none")
        assert plan.round_count == 3
        assert [list(plan.round_shards(number)) for number in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]

    def test_a_budget_that_does_not_learn_changes_no_plan(self, root: Path, tmp_path: Path) -> None:
        plain = make_run(root, tmp_path / "run")
        other = make_run(root, tmp_path / "run", budget={"round_rows": 8, "explore": 0.5})
        photos = load_photos(plain.data)
        assert Plan(plain, photos, "m").fingerprint == Plan(other, photos, "m").fingerprint
        learns = make_run(root, tmp_path / "run", budget={"kind": "adaptive", "round_rows": 8})
        assert Plan(plain, photos, "m").fingerprint != Plan(learns, photos, "m").fingerprint
        assert Plan(plain, photos, "m").round_count == 1

    def test_rounds_hold_whole_shards(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"must be a multiple of cluster\.shard_rows; found 12 and 8"):
            learning(root, tmp_path / "run", round_rows=12)

    def test_an_arm_that_competes_for_no_defect_is_refused(self, root: Path, tmp_path: Path) -> None:
        methods = [{"kind": "rules"}, {"kind": "translate", "material": "metal", "object_name": "plate"}]
        run = learning(root, tmp_path / "run").model_dump(mode="json") | {"methods": methods}
        from farm.config import parse

        with pytest.raises(ConfigError, match=r"the arm 'translate' makes none of prompts\.defects \(disc, hole\)"):
            Plan(parse(run, "here"), load_photos(learning(root, tmp_path).data), "m")


def test_rows_go_where_images_are_kept(made: RunFolder) -> None:
    rows = [row for table in made.candidates(["row", "method"]) for row in table.to_pylist()]
    rules = [sum(row["method"] == "rules" for row in rows[start : start + ROUND]) for start in (0, ROUND, 2 * ROUND)]
    assert rules[0] == ROUND // 2
    assert min(rules[1:]) > 0.8 * ROUND
    kept = to_batch(made.verdicts())["keep"].reshape(3, ROUND).sum(axis=1)
    assert kept[2] >= 1.4 * kept[0]
    assert verify(made).problems == []


def test_a_decision_that_was_lost_is_made_again_the_same(made: RunFolder) -> None:
    run, name = made.run(), "budget/round-000001.json"
    before = made.store.read(name)
    told = json.loads(before)
    assert sum(line["attempts"] for line in told["tallies"]) == ROUND  # though there are more rows by now
    assert {line["defect"] for line in told["tallies"]} == {"disc", "hole"}
    run_again = RunFolder(run.output)
    run_again.store.remove(name)
    run_in_a_loop(run)
    assert made.store.read(name) == before


def test_a_round_waits_for_the_shards_before_it(root: Path, tmp_path: Path) -> None:
    run = learning(root, tmp_path / "run")
    folder, plan = prepare(run)
    with pytest.raises(
        RunError, match=r"round 1 of the budget cannot be decided: shard 0 of an earlier round .*4 such"
    ):
        rounds.decide(folder, plan, 1, lambda shards: {})
