from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from farm.datasets import load_photos
from farm.errors import DataError
from farm.methods.prompt_table import WORDS, prompts
from farm.plan import Plan, arm_sources
from farm.rows import PLANNED, check
from tests.photos import make_run, make_tree

ARMS = [
    {"kind": "rules", "share": 3},
    {"kind": "rules", "name": "scars", "recipes": ["scar"], "share": 1, "sources": 2},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"))


def plan(root: Path, **changes: Any) -> Plan:
    run = make_run(root, root.parent / "out", **({"rows": 400, "methods": ARMS} | changes))
    return Plan(run, load_photos(run.data), "model")


def test_a_row_is_a_function_of_run_and_number(root: Path) -> None:
    one, two = plan(root), plan(root)
    assert [one.row(i) for i in (7, 3, 399)] == [two.row(i) for i in (7, 3, 399)]
    assert one.row(7) != one.row(8)


def test_rows_shards_names_and_cluster_do_not_change_rows(root: Path) -> None:
    base = plan(root).row(5)
    more = {"rows": 40, "name": "other", "cluster": {"shard_rows": 7}, "filter": {"quota": 3}, "train": {"seed": 9}}
    assert plan(root, **more).row(5) == base


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"size_px": 32},
        {"compute": {"batch_size": 8}},
        {"compute": {"batch_size": 4, "threads": 2}},
        {"methods": [{"kind": "rules"}]},
        {"prompts": {"normal": "n", "defects": [{"name": "disc", "prompt": "p"}]}},
    ],
)
def test_what_decides_pixels_changes_every_id(root: Path, change: dict[str, Any]) -> None:
    assert plan(root, **change).row(5)["sample_id"] != plan(root).row(5)["sample_id"]


def test_weights_and_photographs_are_part_of_the_plan(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path / "out")
    photos = load_photos(run.data)
    assert Plan(run, photos, "a").fingerprint != Plan(run, photos, "b").fingerprint
    other = make_run(make_tree(tmp_path / "more", train=13), tmp_path / "out")
    assert Plan(other, load_photos(other.data), "a").fingerprint != Plan(run, photos, "a").fingerprint


def test_a_mask_that_changed_makes_another_plan(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates")
    before = plan(root).fingerprint
    mask = root / "ground_truth/disc/001_mask.png"
    mask.write_bytes((root / "ground_truth/disc/004_mask.png").read_bytes())
    assert plan(root).fingerprint != before


def test_the_same_photographs_elsewhere_give_the_same_plan(root: Path, tmp_path: Path) -> None:
    elsewhere = make_tree(tmp_path / "copy")
    assert plan(elsewhere).fingerprint == plan(root).fingerprint


def test_arms_get_their_shares_in_every_stretch(root: Path) -> None:
    made = plan(root)
    for start in (0, 96, 336):
        names = Counter(made.row(i)["method"] for i in range(start, start + 64))
        assert names == {"rules": 48, "scars": 16}


def test_an_arm_uses_its_own_sources_and_recipes(root: Path) -> None:
    made = plan(root)
    rows = [row for row in map(made.row, range(200)) if row["method"] == "scars"]
    assert {row["recipe"] for row in rows} == {"scar"}
    assert {row["source_id"] for row in rows} == {photo.photo_id for photo in made.sources["scars"]}
    assert len(made.sources["scars"]) == 2


def test_a_rule_is_named_after_what_it_paints(root: Path) -> None:
    rows = [plan(root, methods=[{"kind": "rules"}, {"kind": "background_aware"}]).row(i) for i in range(40)]
    assert all(row["defect"] == row["recipe"] and row["prompt"] == "" for row in rows if row["method"] == "rules")
    others = [(row["defect"], row["prompt"]) for row in rows if row["method"] == "background_aware"]
    assert set(others) == {("disc", "a plate with a disc")}


def test_translation_with_a_material_draws_from_its_table(root: Path) -> None:
    arms = [
        {"kind": "translate", "material": "wood", "object_name": "a plate"},
        {"kind": "translate", "name": "asked", "engine": "instruct", "material": "wood"},
        {"kind": "translate", "name": "own", "engine": "inpaint"},
    ]
    rows = list(map(plan(root, methods=arms).row, range(240)))
    table = {(defect.name, defect.prompt) for defect in prompts("wood", "sdedit", "a plate")}
    assert {(row["defect"], row["prompt"]) for row in rows if row["method"] == "translate"} == table
    asked = {row["prompt"] for row in rows if row["method"] == "asked"}
    assert asked == {defect.prompt for defect in prompts("wood", "instruct")}
    assert {row["prompt"] for row in rows if row["method"] == "own"} == {"a plate with a disc"}
    assert {row["normal_prompt"] for row in rows} == {"a photo of a plate"}


def test_words_of_a_table_are_part_of_the_plan(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_table, without = [{"kind": "translate", "material": "wood"}], [{"kind": "translate"}]
    before = [plan(root, methods=arms).fingerprint for arms in (with_table, without)]
    monkeypatch.setitem(WORDS, "crack", ("a fissure", "cracked"))
    after = [plan(root, methods=arms).fingerprint for arms in (with_table, without)]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_shards_are_fixed_ranges_that_cover_the_plan_once(root: Path) -> None:
    made = plan(root, rows=10)
    ranges = [made.shard_range(shard) for shard in range(made.shard_count)]
    assert [row for part in ranges for row in part] == list(range(10))
    batch = made.shard(2)
    check(batch, PLANNED, "test")
    assert batch["row"].tolist() == [8, 9]


def test_ids_are_unique(root: Path) -> None:
    batch = plan(root).rows(range(400))
    assert len(set(batch["sample_id"])) == len(set(batch["seed"].tolist())) == 400


def test_real_masks_without_shots_are_refused(root: Path) -> None:
    made = plan(root, methods=[{"kind": "rules", "masks": {"kinds": ["real"]}}])
    assert made.row(0)["mask_kind"] == "real"
    run = make_run(root, root, methods=[{"kind": "rules", "masks": {"kinds": ["real"]}}],
                   data={"kind": "mvtec", "root": str(root), "category": "plate", "few_shot": "none"})  # fmt: skip
    with pytest.raises(DataError, match=r"masks\.kinds asks for 'real' only"):
        Plan(run, load_photos(run.data), "m").row(0)


def test_sources_are_spread_evenly(root: Path) -> None:
    photos = load_photos(make_run(root, root).data).train
    assert arm_sources(photos, None) == photos
    picked = [photos.index(photo) for photo in arm_sources(photos, 4)]
    assert picked == [0, 4, 7, 11]
