"""What a stage raised, below what Ray, Ray Data and Ray Train put around it on its way to the driver."""

from collections.abc import Iterator
from contextlib import contextmanager

from farm.errors import FarmError

RAY_DATA_ADDS = "\nFailed to apply UDF transform after "


def below(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what is under it, down to what was raised first; of several trainers, the first that failed."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = _under(inner)


def _under(error: BaseException) -> BaseException | None:
    failed = list(getattr(error, "worker_failures", {}).values())  # Ray Train's, by rank
    inner: BaseException | None = failed[0] if failed else getattr(error, "cause", None)
    return inner or getattr(error, "_base_exc", None) or error.__cause__


def farm_error(error: BaseException) -> FarmError | None:
    """The ``FarmError`` at or below ``error``, without what Ray added to its message; None where there is none."""
    from ray.exceptions import RayError  # a task's error is of Ray's class and of its cause's, with a stack as message

    for inner in below(error):
        if isinstance(inner, FarmError) and not isinstance(inner, RayError):
            inner.args = tuple(str(part).partition(RAY_DATA_ADDS)[0] for part in inner.args)
            return inner
    return None


@contextmanager
def plain() -> Iterator[None]:
    """Raise a ``FarmError`` of a worker as itself, so that its user reads a message and not a stack of Ray's."""
    try:
        yield
    except Exception as error:
        found = farm_error(error)
        if found is None or found is error:
            raise
        raise found from None
