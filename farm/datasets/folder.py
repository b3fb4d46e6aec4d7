"""A plain folder of folders: normals in one, each kind of defect in another, masks beside them if there are any.

<root>/good/ (or normal/)     defect-free photographs: the first 80 % of the sorted names train, the rest test
<root>/<defect>/              photographs of one kind of defect; all are test but the few-shot ones
<root>/masks/<defect>/        <stem>.png or <stem>_mask.png, 0 and 255, same size as the photograph (optional)
"""

from pathlib import Path

from farm.config import DataConfig
from farm.datasets.classes import MASK_FOLDER
from farm.datasets.gather import Found, few_shots, gather
from farm.datasets.groups import group_photos
from farm.datasets.mvtec import mask_of
from farm.datasets.photo import PhotoSet
from farm.datasets.tree import category_root, folders_in, photos_in, read_licence, selected_defects
from farm.errors import DataError

GOOD = ("good", "normal")
MASKS = "masks"
TRAIN_PERCENT = 80
EXPECTED = "good/ (or normal/) and one folder for each defect, with masks as masks/<defect>/<stem>.png"


def load(config: DataConfig) -> PhotoSet:
    """The photographs below ``config.root``. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    root = category_root(config)
    good = _good_folder(root)
    masks = _mask_folder(root, config.mask_folder)
    reserved = {good, MASKS, MASK_FOLDER, config.mask_folder}
    kinds = [name for name in folders_in(root) if name not in reserved]
    every = {name: photos_in(root / name) for name in (good, *kinds)}
    groups = group_photos(path.relative_to(root).as_posix() for paths in every.values() for path in paths)
    found = [
        _found(path, root, None if name == good else name, groups, masks)
        for name in (good, *selected_defects(kinds, config.defects, root))
        for path in every[name]
    ]
    found, refused = few_shots(_split_good(found), config, root)
    return gather(config, root, found, read_licence(root), refused)


def _split_good(found: list[Found]) -> list[Found]:
    """Whole groups of normals go to training until 80 % are reached (at least one photograph); the rest is test."""
    good = [item for item in found if item.defect is None]
    wanted, taken, train = max(1, len(good) * TRAIN_PERCENT // 100), 0, set()
    for group in dict.fromkeys(item.group for item in good):
        if taken >= wanted:
            break
        train.add(group)
        taken += sum(item.group == group for item in good)
    return [
        Found(item.path, item.relative, "train", None, item.group)
        if item.defect is None and item.group in train
        else item
        for item in found
    ]


def _found(path: Path, root: Path, defect: str | None, groups: dict[str, str], masks: Path | None) -> Found:
    relative = path.relative_to(root).as_posix()
    mask = None if defect is None or masks is None else mask_of(path, masks / defect)
    return Found(path, relative, "test", defect, groups[relative], mask)


def _good_folder(root: Path) -> str:
    there = [name for name in GOOD if (root / name).is_dir()]
    if len(there) == 1:
        return there[0]
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; data.root must hold {EXPECTED}")
    found = ", ".join(folders_in(root)) or "no folder"
    raise DataError(f"{root}: exactly one of good/ and normal/ must be there; expected {EXPECTED}; found {found}")


def _mask_folder(root: Path, name: str) -> Path | None:
    """The folder that ``data.mask_folder`` names; by default ``masks``, ``ground_truth`` or None."""
    names = (MASKS, MASK_FOLDER) if name == MASK_FOLDER else (name,)
    there = next((root / one for one in names if (root / one).is_dir()), None)
    if there is None and name != MASK_FOLDER:
        raise DataError(
            f"{root / name}: no such mask folder; found {', '.join(folders_in(root)) or 'none'}. Mend data.mask_folder"
        )
    return there
