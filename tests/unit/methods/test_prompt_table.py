"""Card 000 section 5: prompts by material, in the style of each engine."""

from typing import Any, get_args

import pytest

from farm.config import Material, Run, parse
from farm.errors import ConfigError
from farm.methods.prompt_table import TABLE, WORDS, prompts, without_article

UNKNOWN_TO_SURFACES = {"bend", "wrinkle", "bubble"}  # for larger models than the embedded one


def run(**method: Any) -> Run:
    tree = {
        "name": "t",
        "output": "nowhere",
        "rows": 1,
        "data": {"kind": "textile", "category": "textile"},
        "prompts": {"normal": "cloth", "defects": [{"name": "hole", "prompt": "a hole"}]},
        "methods": [{"kind": "translate", **method}],
    }
    return parse(tree, "t.yaml")


def test_every_material_of_the_config_has_a_table_and_every_word_is_used() -> None:
    assert set(TABLE) == set(get_args(Material))
    assert {defect for _, defects in TABLE.values() for defect in defects} == set(WORDS)
    assert all(len(defects) >= 6 and len(set(defects)) == len(defects) for _, defects in TABLE.values())


def test_the_embedded_model_was_shown_these_words() -> None:
    from farm.surfaces import DEFECTS

    phrases = {phrase for defect in DEFECTS.values() for phrase in defect.phrases}
    assert {name for name, (words, _) in WORDS.items() if words not in phrases} == UNKNOWN_TO_SURFACES


@pytest.mark.parametrize("engine", ["sdedit", "inpaint"])
def test_captions_name_object_and_defect(engine: Any) -> None:
    found = {prompt.name: prompt.prompt for prompt in prompts("magnet", engine)}
    assert found["crack"] == "a photo of a magnetic tile with a crack"
    assert found["blowhole"] == "a photo of a magnetic tile with a blowhole"
    assert len(found) == len(prompts("magnet", engine)) == len(TABLE["magnet"][1])
    assert prompts("steel", engine, "a ball screw")[0].prompt == "a photo of a ball screw with pitting"


def test_instructions_add_a_defect_or_change_the_object() -> None:
    found = [(prompt.name, prompt.prompt) for prompt in prompts("magnet", "instruct")]
    assert ("crack", "add a crack to the magnetic tile") in found
    assert ("crack", "make the magnetic tile cracked") in found
    assert [text for name, text in found if name == "broken_edge"] == [
        "add a broken edge to the magnetic tile",
        "make the magnetic tile broken",
    ]
    pcb = {prompt.prompt for prompt in prompts("pcb", "instruct", "a board")}
    assert "add spurious copper to the board" in pcb
    assert not any(text.endswith("board ") for text in pcb)


@pytest.mark.parametrize(
    ("name", "bare"),
    [("a nut", "nut"), ("An old tile", "old tile"), ("wood", "wood"), ("a", "a"), ("tile a", "tile a")],
)
def test_articles_go(name: str, bare: str) -> None:
    assert without_article(name) == bare


@pytest.mark.parametrize("material", get_args(Material))
@pytest.mark.parametrize("engine", ["instruct", "sdedit", "inpaint"])
def test_every_table_gives_prompts(material: Any, engine: Any) -> None:
    assert {prompt.name for prompt in prompts(material, engine)} == set(TABLE[material][1])


def test_an_unknown_material_is_refused_when_the_config_is_read() -> None:
    with pytest.raises(
        ConfigError, match=r"methods\.0\.translate\.material: Input should be 'metal', 'steel',.* 'unob"
    ):
        run(material="unobtainium")
    assert run(material="wood").methods[0].material == "wood"  # type: ignore[union-attr]


def test_an_object_without_a_table_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"object_name is 'a nut' but material is not set"):
        run(object_name="a nut")
