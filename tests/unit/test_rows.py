import numpy as np
import pytest

from farm.errors import RowError
from farm.rows import GENERATED, PLANNED, SOURCED, VERDICT, Batch, check, names

PIXELS = ("source", "mask")


def sourced(count: int = 2, side: int = 8) -> Batch:
    batch: Batch = {}
    for column in PLANNED:
        values = np.zeros(count, dtype=object if column.dtype == "str" else column.dtype)
        batch[column.name] = values
    batch["source"] = np.zeros((count, side, side, 3), np.uint8)
    batch["mask"] = np.zeros((count, side, side), np.uint8)
    return batch


def test_a_batch_that_keeps_the_contract_passes() -> None:
    check(sourced(), SOURCED, "generate input")


def test_a_missing_column_is_named() -> None:
    batch = sourced()
    del batch["mask"]
    with pytest.raises(RowError, match="generate input: column 'mask' is missing; found category"):
        check(batch, SOURCED, "generate input")


def test_sizes_that_disagree_are_named_with_both_columns() -> None:
    batch = sourced() | {"mask": np.zeros((2, 16, 8), np.uint8)}
    with pytest.raises(RowError, match="generate input: column 'mask' has H=16 but 'source' has H=8"):
        check(batch, SOURCED, "generate input")


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        ("source", np.zeros((2, 8, 8, 3), np.float32), "has dtype float32; it must be uint8"),
        ("source", np.zeros((2, 8, 8), np.uint8), r"has 3 axes .* it must be \(B, H, W, 3\)"),
        ("source", np.zeros((2, 8, 8, 4), np.uint8), r"it must be \(B, H, W, 3\)"),
        ("row", np.zeros(3, np.int64), "has B="),
        ("prompt", np.zeros(2, np.int64), "has dtype int64; it must be str"),
    ],
)
def test_wrong_dtype_axes_and_lengths(column: str, values: np.ndarray, text: str) -> None:
    with pytest.raises(RowError, match=text):
        check(sourced() | {column: values}, SOURCED, "x")


@pytest.mark.parametrize("columns", [PLANNED, SOURCED, GENERATED, VERDICT])
def test_no_column_is_listed_twice_and_each_has_a_meaning(columns: tuple) -> None:
    assert len(set(names(columns))) == len(columns)
    assert all(column.meaning for column in columns)
