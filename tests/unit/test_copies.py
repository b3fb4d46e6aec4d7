"""Copies of photographs: what is as near to one as no other real photograph is."""

import numpy as np
import pytest

from farm.copies import COPIED_NORMAL, LEAKED, MEMORISED, audit, originals
from farm.index import NormalIndex


def at_angles(*degrees: float) -> np.ndarray:
    turns = np.deg2rad(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def photographs(name: str, *degrees: float) -> tuple[list[str], np.ndarray]:
    return [f"{name}-{number}" for number in range(len(degrees))], at_angles(*degrees)


NORMALS = NormalIndex(*photographs("normal", 0, 5, 12))
FLOOR = float(np.cos(np.deg2rad(4)))


def test_what_is_nearer_than_any_normal_is_a_copy() -> None:
    held = originals(FLOOR, NORMALS, photographs("shot", 30), photographs("test", 60, 90))
    found, ids = held[MEMORISED].found(at_angles(29, 25.5, 60))
    assert found.tolist() == [True, False, False]
    assert ids == ["shot-0"] * 3
    found, ids = held[LEAKED].found(at_angles(88, 63, 30))
    assert found.tolist() == [True, True, False]
    assert ids == ["test-1", "test-0", "test-0"]


def test_where_a_normal_is_nearer_still_it_is_no_copy() -> None:
    held = originals(FLOOR, NORMALS, photographs("shot", 14), photographs("test", 60))
    found, _ = held[MEMORISED].found(at_angles(11, 15, 12.5))
    assert found.tolist() == [False, True, True]  # a normal is 2 degrees away


def test_a_generated_normal_is_held_against_the_normals_themselves() -> None:
    held = originals(FLOOR, NORMALS, photographs("shot"), photographs("test"))
    assert set(held) == {COPIED_NORMAL}
    assert held[COPIED_NORMAL].highest == pytest.approx(np.cos(np.deg2rad(5)))
    found, ids = held[COPIED_NORMAL].found(at_angles(1, 8))
    assert found.tolist() == [True, True]
    assert ids == ["normal-0", "normal-1"]
    assert held[COPIED_NORMAL].found(at_angles(20))[0].tolist() == [False]


def test_a_lone_normal_has_no_others_to_be_compared_with() -> None:
    lone = NormalIndex(*photographs("normal", 0))
    assert set(originals(FLOOR, lone, photographs("shot", 30), photographs("test"))) == {MEMORISED}


def test_an_audit_lists_the_most_alike_pairs_of_two_splits_first() -> None:
    test = NormalIndex(*photographs("test", 1, 12, 80))
    pairs = audit(NORMALS, test, FLOOR)
    assert [pair[:2] for pair in pairs] == [("normal-2", "test-1"), ("normal-0", "test-0"), ("normal-1", "test-0")]
    assert pairs[0][2] == pytest.approx(1)
    assert audit(NORMALS, test, 1.1) == []
