"""What a stage raised, below what Ray and Ray Data put around it on its way to the driver."""

from collections.abc import Iterator
from contextlib import contextmanager

from farm.errors import FarmError


def farm_error(error: BaseException) -> FarmError | None:
    """The ``FarmError`` at or below ``error``; None where there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FarmError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
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
