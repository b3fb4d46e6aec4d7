"""Words of products, of a good state, and of damage."""

import pytest

from farm.variational.words import BLOCKED, STATUS, WORDS, is_blocked, library, without_blocked


def test_the_table_itself_has_no_word_of_damage() -> None:
    told = [*WORDS, *STATUS, *(word for kin in WORDS.values() for word in kin)]
    assert [word for word in told if is_blocked(word)] == []
    assert all(len(kin) >= 3 for kin in WORDS.values())
    assert len(WORDS) >= 40


@pytest.mark.parametrize(
    "word",
    ["broken", "cracked", "Dirty", "scratched", "scratches", "chipped", "dented", "pitting", "a tile, torn", "rusty"],
)
def test_damage_is_seen_in_its_forms_and_in_company(word: str) -> None:
    assert is_blocked(word)


@pytest.mark.parametrize("word", ["clean", "a cracker", "printed circuit", "chip", "cutter", "newsprint", "whole"])
def test_honest_words_are_not_blocked(word: str) -> None:
    assert not is_blocked(word)


def test_a_keyword_brings_its_kin_and_the_status_words() -> None:
    assert set(library("metal nut")) == set(WORDS["metal nut"]) | set(STATUS)
    assert library("Metal_Nut") == library("metal nut") == tuple(sorted(library("metal nut")))


def test_several_words_fall_back_on_the_last_that_is_known() -> None:
    assert set(library("grooved steel")) == set(library("steel")) != set(library("grooved"))
    assert set(library("steel thing")) == set(library("steel"))
    assert "glaze" in library("floor tile")
    assert "glaze" not in library("magnetic tile")  # that one is known as a whole


def test_an_unknown_keyword_has_the_status_words_alone() -> None:
    assert library("gizmo") == tuple(sorted(STATUS))


def test_names_lose_their_words_of_damage() -> None:
    assert without_blocked("bsdata_pitting") == "bsdata"
    assert without_blocked("magnetic-tile") == "magnetic tile"
    assert without_blocked("cracks") == ""
    assert "crack" in BLOCKED
