"""What a layout found → a ``PhotoSet``: capped, each file decoded once, bad ones refused with a reason.

All that differs between layouts is where things lie; what makes a photograph fit for use is told here alone, what
makes a mask so in ``masks``.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from farm.config import DataConfig
from farm.datasets.files import read_bytes, read_text
from farm.datasets.masks import Numbers, channels_sum, check_channels, check_mask
from farm.datasets.photo import SHOWN, MaskChannel, PhotoSet, RefusedPhoto, ShotPhoto, TestPhoto, TrainPhoto, photo_id
from farm.datasets.tree import evenly, hold_text, is_inside, shown
from farm.errors import DataError
from farm.images import check_image

Split = Literal["train", "shots", "test"]

LINE = 400  # characters of a user's list that a message repeats


@dataclass(frozen=True)
class Found:
    """A file that a layout takes for a photograph.

    ``mask`` is where its mask must lie, None if the set has none; ``numbers`` is what the numbers in it mean, where it
    is not of 0 and 255.
    """

    path: Path
    relative: str
    split: Split
    defect: str | None
    group: str
    mask: Path | None = None
    numbers: Numbers | None = None


def gather(
    config: DataConfig,
    root: Path,
    found: Sequence[Found],
    licence: str,
    refused: Iterable[RefusedPhoto] = (),
    left_out: Iterable[RefusedPhoto] = (),
) -> PhotoSet:
    """The photographs of ``found`` that are fit for use, at most ``max_train`` and ``max_test`` for each class.

    ``refused`` holds what the layout itself refused, ``left_out`` sound files that it has no split for. Raises
    ``DataError`` if more than ``max_bad_fraction`` of all is refused, if no normal photograph is left to learn from,
    or if two splits share a picture.
    """
    bad = list(refused)
    capped = _capped(found, config)
    total = len(capped) + len(bad)
    photos: dict[Split, list[dict[str, Any]]] = {"train": [], "shots": [], "test": []}
    for item in capped:
        try:
            photos[item.split].append(_checked(item, config, root))
        except DataError as error:
            bad.append(RefusedPhoto(shown(item.path), str(error)))
    _hold_bad(bad, total, config, root)
    if not photos["train"]:
        raise DataError(f"{root}: no normal photograph to learn from; put defect-free pictures there")
    return PhotoSet(
        train=tuple(TrainPhoto(**fields) for fields in photos["train"]),
        shots=tuple(ShotPhoto(**fields) for fields in photos["shots"]),
        test=tuple(TestPhoto(**fields) for fields in photos["test"]),
        refused=(*bad, *left_out),
        category=config.category,
        licence=licence,
    )


def few_shots(found: Sequence[Found], config: DataConfig, root: Path) -> tuple[list[Found], list[RefusedPhoto]]:
    """``found`` with the few-shot photographs moved from the split ``test`` to ``shots``, as ``few_shot`` says.

    A list file names them, one path below the root a line; ``third`` takes of each defect, in order, whole groups
    until floor(n / 3) photographs (at least one) are reached; ``none`` takes none. Lines that leave the root are
    refused. Raises ``DataError`` for a list that is not there or names what is no photograph of a defect.
    """
    defective = [item for item in found if item.defect is not None]
    refused: list[RefusedPhoto] = []
    if config.few_shot == "none":
        chosen: set[str] = set()
    elif config.few_shot == "third":
        chosen = {relative for defect in {item.defect for item in defective} for relative in _third(defective, defect)}
    else:
        chosen, refused = _listed(found, config, root)
    return [replace(item, split="shots") if item.relative in chosen else item for item in found], refused


def _third(found: Sequence[Found], defect: str | None) -> list[str]:
    items = [item for item in found if item.defect == defect]
    wanted, taken = max(1, len(items) // 3), list[str]()
    for group in dict.fromkeys(item.group for item in items):
        if len(taken) >= wanted:
            break
        taken += [item.relative for item in items if item.group == group]
    return taken


def _listed(found: Sequence[Found], config: DataConfig, root: Path) -> tuple[set[str], list[RefusedPhoto]]:
    where = root / config.few_shot
    if not is_inside(where, root) or not where.is_file():
        raise DataError(
            f"{where}: the list of few-shot photographs is not there; write one (a path below {root} a line), or set "
            "data.few_shot to 'third' (the first third of each defect) or 'none'"
        )
    entries = _entries(where)
    refused = [
        RefusedPhoto(entry[:LINE], f"{where.name}: {entry[:LINE]}: leaves {root}; name photographs below it")
        for entry in entries
        if _leaves(entry, root)
    ]
    inside = {Path(entry).as_posix() for entry in entries if not _leaves(entry, root)}
    defects = {item.relative for item in found if item.defect is not None}
    inside = _as_on_disk(inside, defects)
    wrong = sorted(entry for entry in inside - defects if not _left_out(root / entry, found, config))
    if wrong:
        lines = shown(", ".join(wrong[:SHOWN])[:LINE])
        raise DataError(
            f"{where}: {len(wrong)} line(s) name no photograph of a defect: {lines}. Each line is "
            f"a path below {root}, e.g. {min(defects, default='test/scratch/000.png')}"
        )
    return inside & defects, refused


def _entries(where: Path) -> list[str]:
    """The paths that a list file names, each once; UTF-8 with or without a byte order mark, any ends of lines."""
    lines = [line.strip() for line in read_text(where, "a list has one path a line").splitlines()]
    return [line for line in dict.fromkeys(lines) if line and not line.startswith("#")]


def _leaves(entry: str, root: Path) -> bool:
    return Path(entry).is_absolute() or not is_inside(root / entry, root)


def _as_on_disk(entries: set[str], names: set[str]) -> set[str]:
    """``entries`` spelled as the disk spells them: an accent is one sign or two, and editors and disks differ in it."""
    composed = {unicodedata.normalize("NFC", name): name for name in sorted(names)}
    return {entry if entry in names else composed.get(unicodedata.normalize("NFC", entry), entry) for entry in entries}


def _left_out(path: Path, found: Sequence[Found], config: DataConfig) -> bool:
    """Whether the path is a photograph of a defect that ``data.defects`` does not select."""
    read = {item.path.parent for item in found}
    return config.defects is not None and path.is_file() and path.parent not in read


def _capped(found: Sequence[Found], config: DataConfig) -> list[Found]:
    """At most ``max_train`` normals and ``max_test`` test photographs of each class; few-shot ones all stay."""
    limits = {"train": config.max_train, "shots": None, "test": config.max_test}
    classes = dict.fromkeys((item.split, item.defect) for item in found)
    return [
        item
        for split, defect in classes
        for item in evenly([item for item in found if (item.split, item.defect) == (split, defect)], limits[split])
    ]


def _checked(item: Found, config: DataConfig, root: Path) -> dict[str, Any]:
    """The fields of the photograph; ``DataError`` with the reason if it or its mask cannot be used."""
    hold_text(item.path, root)
    data = read_bytes(item.path, root, config.max_megapixels)
    size = check_image(data, item.relative, config.max_megapixels)
    mask_sha256, channels = _checked_mask(item, size, config, root)
    return {
        "photo_id": photo_id(config.category, item.relative),
        "path": str(item.path),
        "relative": item.relative,
        "category": config.category,
        "defect": item.defect,
        "mask_path": None if item.mask is None else str(item.mask),
        "group": item.group,
        "sha256": hashlib.sha256(data).hexdigest(),
        "mask_sha256": mask_sha256,
        "channels": channels,
    }


def _checked_mask(
    item: Found, size: tuple[int, int], config: DataConfig, root: Path
) -> tuple[str, tuple[MaskChannel, ...]]:
    """``mask_sha256`` and ``channels`` of the photograph."""
    if item.mask is None:
        return "", ()
    if item.numbers is None:
        return check_mask(item.mask, size, config, root), ()
    channels = check_channels(item.mask, item.numbers, size, config, root)
    return channels_sum(channels), channels


def _hold_bad(bad: Sequence[RefusedPhoto], total: int, config: DataConfig, root: Path) -> None:
    """Raise ``DataError`` with the first reasons if too large a share of the photographs is refused."""
    if not bad or len(bad) / total <= config.max_bad_fraction:
        return
    lines = [one.reason for one in bad[:SHOWN]] + ([f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else [])
    raise DataError(
        f"{root}: {len(bad)} of {total} photographs cannot be used; at most {config.max_bad_fraction:.1%} may be bad. "
        "Mend or remove them, or raise data.max_bad_fraction\n  " + "\n  ".join(lines)
    )
