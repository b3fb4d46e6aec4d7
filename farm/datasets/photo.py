"""Photographs and what may be done with them: the type says it (decision 10).

``TrainPhoto`` may be learned from, ``ShotPhoto`` may also be shown to a generator, ``TestPhoto`` is for evaluation
alone. A training stage takes the first two types, an evaluator the third; a ``PhotoSet`` in which one picture is in
two splits cannot be made.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations

from farm.errors import DataError
from farm.ids import digest, fingerprint

SHOWN = 20  # photographs that an error lists


def photo_id(category: str, relative: str) -> str:
    """The id of the photograph at ``relative`` (posix, below the category's root): 16 hexadecimal characters."""
    return digest("photo", category, relative).hex()[:16]


def defect_name(folder: str) -> str:
    """The name under which a run may ask for the defects in ``folder``: lower case, other signs as underscores."""
    return re.sub(r"[^a-z0-9]+", "_", folder.lower())


@dataclass(frozen=True)
class MaskChannel:
    """A file whose pixels other than 0 are one region of a mask (sPRO, card 005 section A)."""

    path: str
    sha256: str
    defect: str  # what the region shows
    saturation: float  # how much of it must be found for all: pixels, or a share of its area if ``relative``
    relative: bool


@dataclass(frozen=True)
class Photo:
    """One real photograph. Its pixels stay on disk; ``farm.datasets.read_photo`` reads them."""

    photo_id: str
    path: str
    relative: str  # posix path below the category's root
    category: str
    defect: str | None  # name of the defect's folder; None = good
    mask_path: str | None  # None = no mask; the folder of the channels where each has a file of its own
    group: str  # photographs of one physical thing share it: intervals are bootstrapped over groups
    sha256: str  # of the file; a photograph that changed later is not read
    mask_sha256: str = ""  # of the mask's file, which decides target masks and pixel metrics; "" = no mask
    channels: tuple[MaskChannel, ...] = ()  # of a mask of numbers, whose union is the mask; () = 0 and 255 in one file

    @property
    def is_good(self) -> bool:
        """Whether the photograph shows no defect."""
        return self.defect is None


@dataclass(frozen=True)
class TrainPhoto(Photo):
    """A normal photograph that may be learned from."""

    def __post_init__(self) -> None:
        if self.defect is not None:
            raise DataError(f"{self.path}: shows '{self.defect}'; only normal photographs are for training")


@dataclass(frozen=True)
class ShotPhoto(Photo):
    """A real defect (few-shot) that may be shown to a generator or a supervised model."""

    def __post_init__(self) -> None:
        if self.defect is None:
            raise DataError(f"{self.path}: is normal; only photographs of defects are few-shot photographs")


@dataclass(frozen=True)
class TestPhoto(Photo):
    """A photograph for evaluation only."""

    __test__ = False  # not a class of tests


@dataclass(frozen=True)
class RefusedPhoto:
    """A file that is left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class PhotoSet:
    """The photographs of a category by split. Raises ``DataError`` if two splits share an id, a path or content."""

    train: tuple[TrainPhoto, ...]
    shots: tuple[ShotPhoto, ...]
    test: tuple[TestPhoto, ...]
    refused: tuple[RefusedPhoto, ...]
    category: str
    licence: str
    fingerprint: str = field(init=False)  # over (relative, split, checksums of file and mask) of all

    def __post_init__(self) -> None:
        shared = [line for one, two in combinations(self.splits().items(), 2) for line in _shared(one, two)]
        if shared:
            more = f"\n  and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
            raise DataError(
                f"{self.category}: {len(shared)} photograph(s) are in two splits; a number measured on what was "
                "learned from means nothing. Remove them from one split\n  " + "\n  ".join(shared[:SHOWN]) + more
            )
        listed = sorted((photo.relative, split, photo.sha256, photo.mask_sha256) for split, photo in self._all())
        object.__setattr__(self, "fingerprint", fingerprint(listed))

    def splits(self) -> dict[str, tuple[Photo, ...]]:
        """The three splits by name."""
        return {"train": self.train, "shots": self.shots, "test": self.test}

    def _all(self) -> Iterable[tuple[str, Photo]]:
        return ((split, photo) for split, photos in self.splits().items() for photo in photos)


def _shared(one: tuple[str, tuple[Photo, ...]], two: tuple[str, tuple[Photo, ...]]) -> list[str]:
    """A line for each photograph of split ``two`` that split ``one`` has too, by id, path or content."""
    keys: tuple[Callable[[Photo], str], ...] = (
        lambda photo: photo.photo_id,
        lambda photo: photo.path,
        lambda photo: photo.sha256,
    )
    known = [{key(photo): photo for photo in one[1]} for key in keys]
    lines = []
    for photo in two[1]:
        twin = next((seen[key(photo)] for key, seen in zip(keys, known, strict=True) if key(photo) in seen), None)
        if twin is not None:
            same = "" if twin.path == photo.path else f" (the same picture as {twin.relative})"
            lines.append(f"photo {photo.relative} is in both {one[0]} and {two[0]}{same}")
    return lines
