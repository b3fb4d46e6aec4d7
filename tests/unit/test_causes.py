"""What a worker raised is told as it was raised, whatever Ray puts around it."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError

from cluster.causes import RAY_DATA_ADDS, below, farm_error, plain
from farm.errors import DataError, FarmError, RunError

SAID = "part.parquet: is damaged; repair it"


def from_a_task(cause: Exception) -> Exception:
    """What ``ray.get`` raises for a task that raised ``cause``."""
    error: Exception = RayTaskError("task", "Traceback (most recent call last): ...", cause).as_instanceof_cause()
    return error


def test_a_tasks_error_is_told_without_rays_stack() -> None:
    with pytest.raises(RunError, match=f"^{SAID}$") as caught, plain():
        raise from_a_task(RunError(SAID))
    assert type(caught.value) is RunError


def test_what_ray_data_adds_to_a_message_is_left_out() -> None:
    with pytest.raises(RunError, match=f"^{SAID}$"), plain():
        raise from_a_task(RunError(f"{SAID}{RAY_DATA_ADDS}1/1 attempts (total backoff 0.0s).\nTo change ..."))


def test_the_outer_of_two_errors_of_ours_is_told() -> None:
    error = RunError("outer")
    error.__cause__ = DataError("inner")
    assert str(farm_error(from_a_task(error))) == "outer"


def test_ray_train_keeps_it_below_a_rank() -> None:
    failure = SimpleNamespace(_base_exc=DataError("no photographs"))
    error = RuntimeError("training failed")
    error.worker_failures = {3: failure}  # type: ignore[attr-defined]
    failure.__cause__ = None
    assert str(farm_error(error)) == "no photographs"


def test_an_error_that_is_not_ours_stays_as_it_is() -> None:
    error = from_a_task(ValueError("a defect of ours"))
    assert farm_error(error) is None
    assert str(list(below(error))[-1]) == "a defect of ours"
    with pytest.raises(ValueError) as caught, plain():  # noqa: PT011  # its message is a stack of Ray's
        raise error
    assert caught.value is error


def test_an_error_of_the_driver_itself_passes() -> None:
    with pytest.raises(FarmError, match=r"^here$"), plain():
        raise FarmError("here")
