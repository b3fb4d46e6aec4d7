from pathlib import Path
from typing import Any

import pytest
import yaml

from farm.config import dump, load, parse
from farm.errors import ConfigError
from tests.settings import settings_tree

ROOT = Path(__file__).resolve().parents[2]


def write(path: Path, value: Any) -> Path:
    path.write_text(yaml.safe_dump(value))
    return path


def test_every_wrong_setting_is_listed_at_once_with_file_key_value_and_rule(tmp_path: Path) -> None:
    wrong = settings_tree(rows=0, methods=[{"kind": "rules", "strenght": 0.5}], filter={"near_duplicate": 2})
    path = write(tmp_path / "a.yaml", wrong)
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: 3 setting(s) are wrong")
    assert "  rows: Input should be greater than 0 (got 0)" in text
    assert "  methods.0.rules.strenght: Extra inputs are not permitted (got 0.5)" in text
    assert "  filter.near_duplicate: Input should be less than or equal to 1 (got 2)" in text


def test_unknown_key_at_the_top_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"colour: Extra inputs are not permitted \(got 'red'\)"):
        parse(settings_tree(colour="red"), "x")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": {"kind": "mvtec", "category": "c"}}, "kind 'mvtec' needs root"),
        ({"methods": [{"kind": "rules"}, {"kind": "rules"}]}, r"each name once; found \['rules', 'rules'\]"),
        ({"methods": []}, "methods: at least one"),
        ({"train": {"normal_share": 0.9, "replay": 0.2}}, r"found 0.9 \+ 0.2"),
        ({"embed": {"kind": "open_clip"}}, "needs model and pretrained"),
        ({"embed": {"model": "ViT-B-32"}}, "kind 'efficientnet_lite0' has its own weights; found model 'ViT-B-32'"),
        ({"embed": {"kind": "timm"}}, "kind 'timm' needs model: a registered name, a local folder or a hub id"),
        (
            {"embed": {"kind": "transformers", "model": "a/b", "pretrained": "c"}},
            "found model 'a/b' and pretrained 'c'",
        ),
        ({"size_px": 100}, "multiple of 8"),
        ({"methods": [{"kind": "rules", "masks": {"min_area": 0.5, "max_area": 0.1}}]}, "found 0.5 and 0.1"),
    ],
)
def test_rules_across_fields_quote_what_was_found(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parse(settings_tree(**changes), "x")


def test_overrides_reach_into_models_and_lists(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", settings_tree())
    run = load(path, ["train.stage1.steps=7", "methods.0.share=2.5", "data.max_train=3", "output=elsewhere"])
    assert (run.train.stage1.steps, run.methods[0].share, run.data.max_train, run.output) == (7, 2.5, 3, "elsewhere")


@pytest.mark.parametrize("text", ["rows", "=3", "a..b=1", "methods.4.share=1", "name.first=x"])
def test_an_override_that_fits_nothing_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load(write(tmp_path / "a.yaml", settings_tree()), [text])


def test_missing_and_malformed_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match="is not YAML"):
        load(tmp_path / "bad.yaml")
    with pytest.raises(ConfigError, match="found list at the top"):
        load(write(tmp_path / "list.yaml", [1]))


def test_dumped_settings_load_to_the_same_run() -> None:
    run = parse(settings_tree(), "x")
    assert parse(yaml.safe_load(dump(run)), "y") == run


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_of_the_repository_loads_and_says_what_it_costs(path: Path) -> None:
    run = load(path, ["data.root=somewhere"])
    assert run.methods
    assert path.read_text().startswith("#")
