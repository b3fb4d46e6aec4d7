"""What a format is: a way to lay pictures out in files. Adding one: a file and a line in ``farm.export.FORMATS``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from farm.export.contents import Contents
from farm.export.output import Output
from farm.export.pictures import Picture


class Write(Protocol):
    """Writes pictures as they come, under names that hang on them alone.

    The same pictures in the same order give the same bytes; memory does not grow with their number.
    """

    def __call__(self, pictures: Iterable[Picture], contents: Contents, out: Output) -> None:
        """Write all of ``pictures``, whose labels are among ``contents.labels``, into ``out``."""


@dataclass(frozen=True)
class Format:
    """``has_verdicts``: whether a refused picture can be told from a kept one in it. ``about`` stands in the card."""

    name: str
    write: Write
    has_verdicts: bool
    about: str
