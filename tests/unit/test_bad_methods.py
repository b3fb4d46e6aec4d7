"""A method that breaks its contract, through the generating stage: its rows fail, their neighbours keep their bytes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.config import Run
from farm.errors import WeightsError
from farm.methods import Made, Request
from tests.photos import make_run, make_tree
from tests.stages import first_rows, generating

Spoil = Callable[[Made, int], Made]


class Darken:
    """Halves the pixels in the mask; where ``bad`` is in the batch, what it gives is spoiled."""

    needs_trajectory = False

    def __init__(self, bad: int = -1, spoil: Spoil | None = None) -> None:
        self.bad, self.spoil = bad, spoil

    def __call__(self, request: Request) -> Made:
        count = len(request.seed)
        made = Made(
            image=np.where(request.mask[..., None] > 0, request.source // 2, request.source),
            label=request.mask.copy(),
            evaluations=np.full(count, 7, np.int32),
            background_error=np.zeros(count, np.float32),
            objection=("",) * count,
            error=("",) * count,
        )
        found = request.seed.tolist()
        return self.spoil(made, found.index(self.bad)) if self.spoil and self.bad in found else made


def as_floats(made: Made, row: int) -> Made:
    image = made.image.astype(np.float32)
    image[row] = np.nan
    return replace(made, image=image)  # type: ignore[arg-type]


def halved(made: Made, _: int) -> Made:
    return replace(made, image=np.ascontiguousarray(made.image[:, ::2, ::2]))


def too_few(made: Made, _: int) -> Made:
    return replace(made, label=made.label[:-1])


def not_a_number(made: Made, row: int) -> Made:
    made.background_error[row] = np.nan
    return made


def bright_label(made: Made, row: int) -> Made:
    made.label[row] *= 255
    return made


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (as_floats, "null: TypeError: the method gave image as float32 (4, 64, 64, 3); it must be uint8"),
        (halved, "null: TypeError: the method gave image as uint8 (4, 32, 32, 3); it must be uint8 (4, 64, 64, 3)"),
        (too_few, "null: TypeError: the method gave label as uint8 (3, 64, 64); it must be uint8 (4, 64, 64)"),
        (not_a_number, "null: DataError: the method gave background_error nan; its pixels cannot be trusted"),
        (bright_label, "null: DataError: the method gave a label with values up to 255"),
    ],
)
def test_a_row_of_a_broken_method_fails_alone(spoil: Spoil, reason: str, tmp_path: Path) -> None:
    run = make_run(make_tree(tmp_path / "plates", train=4, test=1), tmp_path / "run", methods=[{"kind": "null"}])
    wanted = make(run, Darken())
    found = make(run, Darken(int(wanted["seed"][2]), spoil))
    assert found["status"].tolist() == ["made", "made", "failed", "made", "made", "made"]
    assert found["error"][2].startswith(reason)
    assert found["image_png"][2] == b""
    for row in (0, 1, 3, 4, 5):
        assert found["image_png"][row] == wanted["image_png"][row]
        assert found["label_png"][row] == wanted["label_png"][row]


def test_an_error_that_no_row_is_to_blame_for_stops_the_run(tmp_path: Path) -> None:
    def lost(made: Made, row: int) -> Made:
        raise WeightsError("adapter: is damaged")

    run = make_run(make_tree(tmp_path / "plates", train=4, test=1), tmp_path / "run", methods=[{"kind": "null"}])
    with pytest.raises(WeightsError, match="adapter: is damaged"):
        make(run, Darken(int(make(run, Darken())["seed"][2]), lost))


def make(run: Run, method: Any) -> dict[str, Any]:
    return first_rows(generating(run, method), 6)
