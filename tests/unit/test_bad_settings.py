"""Configs from anyone: bombs, tags, numbers without measure, texts without end, another run's folder."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from farm.config import dump, load, parse
from farm.errors import ConfigError, RunError
from farm.prepare import prepare
from farm.run_folder import RunFolder
from tests.photos import make_run, make_tree
from tests.settings import settings_tree


def error_of(path: Path, data: bytes | str) -> str:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def laughs(doors: int, line: str) -> str:
    """``line`` holds ten aliases of the mapping or list before it: 10 ** ``doors`` values in a kilobyte."""
    names = [chr(ord("a") + door) for door in range(doors)]
    return "".join(
        f"{name}: &{name} " + line.format(",".join([f"*{before}"] * 10)) + "\n" for before, name in pairwise(names)
    )


BOMBS = {
    "billion_laughs": "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + laughs(10, "[{}]"),
    "billion_merges": "a: &a {k: 1}\n" + laughs(10, "{{<<: [{}]}}"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", BOMBS)
def test_a_yaml_bomb_is_refused_before_it_goes_off(kind: str, tmp_path: Path) -> None:
    text = error_of(tmp_path / "a.yaml", BOMBS[kind])
    assert text == "its aliases stand for more than 100000 values; write out what they stand for"


def test_an_alias_of_itself_is_refused(tmp_path: Path) -> None:
    assert error_of(tmp_path / "a.yaml", "a: &a [*a]\n").startswith("its aliases stand for no end of values")


def test_aliases_and_merges_within_reason_are_what_they_stand_for(tmp_path: Path) -> None:
    text = dump(parse(settings_tree(), "x")) + "\n"
    masks = "methods:\n- {kind: rules, name: a, masks: &m {min_area: 0.01, max_area: 0.02}}\n"
    masks += "- {kind: rules, name: b, masks: *m}\n- {kind: rules, name: c, masks: {<<: *m, max_area: 0.03}}\n"
    whole = yaml.safe_load(text)
    whole.pop("methods")
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(whole) + masks)
    areas = [(method.masks.min_area, method.masks.max_area) for method in load(tmp_path / "a.yaml").methods]
    assert areas == [(0.01, 0.02), (0.01, 0.02), (0.01, 0.03)]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['touch pwned']", "!!python/name:os.system", "!farm {a: 1}", "!!set x"]
)
def test_no_tag_makes_an_object(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = error_of(tmp_path / "a.yaml", f"name: {tag}\n")
    assert text.startswith("is not YAML: ")
    assert not (tmp_path / "pwned").exists()


NOT_YAML = {
    "latin_1": "name: caf\xe9".encode("latin-1"),
    "binary": bytes(range(256)),
    "control_character": b"name: \x07",
    "deep_nesting": b"[" * 20_000,
    "endless_number": b"rows: " + b"1" * 5000,
    "impossible_date": b"name: 2024-99-99",
    "two_documents": b"name: a\n---\nname: b\n",
    "list_as_key": b"? [a]\n: 1\n",
    "no_such_anchor": b"name: *a\n",
    "wrong_bool": b"name: !!bool maybe\n",
}


@pytest.mark.parametrize("kind", NOT_YAML)
def test_what_is_not_yaml_is_said_to_be_not_yaml(kind: str, tmp_path: Path) -> None:
    assert error_of(tmp_path / "a.yaml", NOT_YAML[kind]).startswith("is not YAML: ")


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"- 1\n", b"just words\n", b"7\n"])
def test_a_config_that_is_no_mapping_says_what_it_is(data: bytes, tmp_path: Path) -> None:
    assert re.match(r"found \w+ at the top; a config is a mapping of settings", error_of(tmp_path / "a.yaml", data))


def test_a_config_of_ten_megabytes_is_not_read(tmp_path: Path) -> None:
    text = error_of(tmp_path / "a.yaml", b"# padding\n" * 1_000_000)
    assert text == "is larger than 64 KB, so it is no config; give the path of a YAML config"


def test_a_setting_that_stands_twice_is_refused_and_not_taken_from_the_last(tmp_path: Path) -> None:
    text = error_of(tmp_path / "a.yaml", yaml.safe_dump(settings_tree()) + "rows: 20\n")
    assert text == "'rows' is set twice in the mapping from line 1; leave one out"


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e400"])
@pytest.mark.parametrize(
    "setting", ["methods.0.share", "filter.min_ssim_outside", "train.stage1.lr", "data.max_megapixels", "rows", "seed"]
)
def test_no_setting_takes_a_number_that_is_none(setting: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(settings_tree()))
    with pytest.raises(ConfigError, match=f"(?s)setting.s. are wrong.*{setting.split('.')[-1]}: Input should be"):
        load(tmp_path / "a.yaml", [f"{setting}={value}"])


@pytest.mark.parametrize(
    ("setting", "value", "text"),
    [
        ("rows", 0, "Input should be greater than 0"),
        ("rows", -1, "Input should be greater than 0"),
        ("rows", 10**12, "Input should be less than or equal to 2147483647"),
        ("rows", 10**30, "Input should be"),
        ("seed", 2**63, "Input should be less than 9223372036854775808"),
        ("size_px", 10**9, "less than or equal to 2048"),
        ("data.max_megapixels", 1e300, "less than or equal to 178"),
        ("methods.0.share", 1e308, "less than or equal to 1000000"),
        ("methods.0.share", 1e-320, "greater than or equal to 0.000001"),
    ],
)
def test_numbers_without_measure_are_refused(setting: str, value: float, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(settings_tree()))
    with pytest.raises(ConfigError, match=text):
        load(tmp_path / "a.yaml", [f"{setting}={value!r}"])


@pytest.mark.parametrize("change", ["normal", "prompt", "category", "output", "root"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\0b", r"control characters are not allowed; found U\+0000, take them out"),
        ("a\x1b[31mred", r"control characters are not allowed; found U\+001B"),
        ("x" * 100_000, r"String should have at most 2000 characters \(got 'x{79} \.\.\.\)"),
        ("", "String should have at least 1 character"),
    ],
)
def test_texts_that_no_one_can_read_are_refused(change: str, text: str, reason: str) -> None:
    whole = settings_tree()
    places = {
        "normal": (whole["prompts"], "normal"),
        "prompt": (whole["prompts"]["defects"][0], "prompt"),
        "category": (whole["data"], "category"),
        "output": (whole, "output"),
        "root": (whole["data"], "root"),
    }
    node, key = places[change]
    node[key] = text
    with pytest.raises(ConfigError, match=rf"{key}: .*{reason}") as caught:
        parse(whole, "x")
    assert len(str(caught.value)) < 400


def test_a_text_may_have_lines_accents_and_pictures() -> None:
    text = "eine Fläche mit\neinem Riss 🔥 и трещина"
    prompts = {"normal": text, "defects": [{"name": "a", "prompt": text}]}
    assert parse(settings_tree(prompts=prompts), "x").prompts.normal == text


@pytest.mark.parametrize("value", ["[1", "!!python/object:os.system x", "*a", "2024-99-99"])
def test_an_override_that_is_not_yaml_is_an_error_in_words(value: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(settings_tree()))
    with pytest.raises(ConfigError, match=r"^--set name=.*: is not YAML: "):
        load(tmp_path / "a.yaml", [f"name={value}"])


FOREIGN = {
    "not_yaml": "services: [web",
    "empty": "",
    "list": "- 1\n- 2\n",
    "of_another_tool": "version: 3\nservices: {web: {image: nginx}}\n",
    "config_is_a_text": "config: prod\nfingerprints: {plan: a, photos: b, model: c}\n",
    "no_fingerprints": "config: {data: {}, cluster: {}}\n",
    "tag": "config: !!python/object/apply:os.system ['touch pwned']\n",
}


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"), train=4, test=1, shots=1)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_with_a_run_yaml_that_no_run_wrote_is_left_alone(kind: str, plates: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(FOREIGN[kind])
    with pytest.raises(RunError, match=r"(?s)run\.yaml: .*Give another output folder") as caught:
        prepare(make_run(plates, tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / "run.yaml").read_text() == FOREIGN[kind]
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_a_folder_of_another_run_is_left_alone_and_each_difference_is_named(plates: Path, tmp_path: Path) -> None:
    folder, _ = prepare(make_run(plates, tmp_path))
    for name in ("part.parquet", "done.json"):  # a shard is committed
        folder.store.write(f"candidates/shard-000000/{name}", b"{}")
    before = (tmp_path / "run.yaml").read_bytes()
    with pytest.raises(RunError, match=r"(?s)was made by another config.*size_px: now 32, the folder was made with 64"):
        prepare(make_run(plates, tmp_path, size_px=32))
    assert (tmp_path / "run.yaml").read_bytes() == before
    assert RunFolder(str(tmp_path)).run().size_px == 64
