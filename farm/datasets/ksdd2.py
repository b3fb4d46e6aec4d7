"""The KolektorSDD2 layout (card 005 section C): a mask for every photograph, and an all-black one means good.

<root>/train/10000.png 10000_GT.png ...      <root>/test/20000.png 20000_GT.png ...

Its test folder is the test set, as published. Good photographs of train/ are the normals. The defective ones of train/
may be learned from: those that ``few_shot`` takes (a list, or the first third) are few-shot photographs; the others
are left out of all splits, with that reason, and are never normals. Every pixel of a mask but 0 is defect, as in the
authors' code. The one defect is called ``defect``. Stray files with "copy" in their name are refused.
"""

from dataclasses import replace
from pathlib import Path

from farm.config import DataConfig
from farm.datasets.gather import Found, Split, few_shots, gather
from farm.datasets.groups import group_photos
from farm.datasets.masks import any_number, read_numbers
from farm.datasets.photo import PhotoSet, RefusedPhoto
from farm.datasets.tree import category_root, hold_layout, hold_text, photos_in, read_licence, selected_defects, shown
from farm.errors import DataError

DEFECT = "defect"
MASK, STRAY = "_GT", "copy"
SPLITS: tuple[Split, ...] = ("train", "test")
EXPECTED = "train/ and test/, each with <number>.png and its mask <number>_GT.png"
LICENCE = "CC BY-NC-SA 4.0"


def load(config: DataConfig) -> PhotoSet:
    """The photographs below ``config.root``. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    root = category_root(config)
    hold_layout(root, config.category, _is_root, "KolektorSDD2", EXPECTED)
    kinds = (None, *selected_defects([DEFECT], config.defects, root))
    found, refused = _read(config, root)
    found = [item for item in found if item.defect in kinds]
    taken, lines = few_shots([item for item in found if _is_spare(item)], config, root)
    shots = [item for item in taken if item.split == "shots"]
    left_out = [RefusedPhoto(shown(item.path), _reason(item)) for item in taken if item.split != "shots"]
    rest = [item for item in found if not _is_spare(item)]
    return gather(config, root, [*rest, *shots], read_licence(root, LICENCE), [*refused, *lines], left_out)


def _is_root(root: Path) -> bool:
    return (root / "test").is_dir() and any((root / "train").glob(f"*{MASK}.png"))


def _is_spare(item: Found) -> bool:
    """Whether it is a defect outside the test set, which may be learned from."""
    return item.split == "train" and item.defect is not None


def _read(config: DataConfig, root: Path) -> tuple[list[Found], list[RefusedPhoto]]:
    """Every photograph by the folder it lies in, with what its mask says, and what is none."""
    found: list[Found] = []
    refused: list[RefusedPhoto] = []
    for split in SPLITS:
        for path in photos_in(root / split):
            try:
                _hold_name(path, root)
                if not path.stem.endswith(MASK):
                    found.append(_found(path, split, config, root))
            except DataError as error:
                refused.append(RefusedPhoto(shown(path), str(error)))
    groups = group_photos(item.relative for item in found)
    return [replace(item, group=groups[item.relative]) for item in found], refused


def _found(path: Path, split: Split, config: DataConfig, root: Path) -> Found:
    mask = path.with_name(f"{path.stem}{MASK}.png")
    relative = path.relative_to(root).as_posix()
    if not read_numbers(mask, config, root).any():
        return Found(path, relative, split, None, relative)
    return Found(path, relative, split, DEFECT, relative, mask, any_number(DEFECT))


def _hold_name(path: Path, root: Path) -> None:
    where = path.relative_to(root).as_posix()
    hold_text(path, root)
    if STRAY in path.name.lower():
        raise DataError(f"{where}: is a stray copy that the set is published with; remove it")
    if path.stem.endswith(MASK) and not path.with_name(f"{path.stem.removesuffix(MASK)}.png").exists():
        raise DataError(f"{where}: is a mask without its photograph; remove it, or copy the photograph again")


def _reason(item: Found) -> str:
    return (
        f"{item.relative}: a defect of the train split that data.few_shot does not take; it is neither learned from "
        "nor evaluated"
    )
