"""The MVTec AD layout (card 005 section C): one category a folder, defects by folder, a mask for each defect photo.

<root>/train/good/000.png ...
<root>/test/good/000.png ...         <root>/test/<defect>/000.png ...
<root>/ground_truth/<defect>/000_mask.png    0 and 255, same size as the photograph; no folder for good
<root>/few_shot.txt                  paths of the defect photographs that may be learned from (optional)
"""

from pathlib import Path

from farm.config import DataConfig
from farm.datasets.gather import Found, few_shots, gather
from farm.datasets.groups import group_photos
from farm.datasets.photo import PhotoSet
from farm.datasets.tree import folders_in, photos_in, read_licence, selected_defects
from farm.errors import DataError

EXPECTED = "train/good, test/good and test/<defect>, with masks as ground_truth/<defect>/<stem>_mask.png"
MASK_FOLDER = str(DataConfig.model_fields["mask_folder"].default)


def load(config: DataConfig) -> PhotoSet:
    """The photographs below ``config.root``. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    root = Path(config.root or "").expanduser().absolute()
    _hold_layout(root, config.category)
    masks = _mask_folder(root, config.mask_folder)
    defects = selected_defects([name for name in folders_in(root / "test") if name != "good"], config.defects, root)
    everything = [
        *[(path, "good") for path in photos_in(root / "train" / "good")],
        *[(path, name) for name in folders_in(root / "test") for path in photos_in(root / "test" / name)],
    ]
    groups = group_photos(path.relative_to(root).as_posix() for path, _ in everything)
    found = [
        _found(path, path.relative_to(root).as_posix(), name, groups, masks)
        for path, name in everything
        if name == "good" or name in defects
    ]
    found, refused = few_shots(found, config, root)
    return gather(config, root, found, read_licence(root), refused)


def mask_of(path: Path, masks: Path) -> Path:
    """Where in the folder ``masks`` (of one defect) the mask of a photograph is, or has to be."""
    plain = masks / f"{path.stem}.png"
    return plain if plain.exists() else masks / f"{path.stem}_mask.png"


def _found(path: Path, relative: str, name: str, groups: dict[str, str], masks: Path | None) -> Found:
    defect = None if name == "good" else name
    return Found(
        path=path,
        relative=relative,
        split="train" if relative.startswith("train/") else "test",
        defect=defect,
        group=groups[relative],
        mask=None if defect is None or masks is None else mask_of(path, masks / defect),
    )


def _mask_folder(root: Path, name: str) -> Path | None:
    if (root / name).is_dir():
        return root / name
    if name == MASK_FOLDER:  # a set without masks: image-level metrics only
        return None
    raise DataError(
        f"{root / name}: no such mask folder; found {', '.join(folders_in(root)) or 'none'}. Mend data.mask_folder"
    )


def _hold_layout(root: Path, category: str) -> None:
    if all((root / folder).is_dir() for folder in ("train/good", "test/good")):
        return
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; data.root must be the folder of one category with {EXPECTED}")
    hint = f". Set data.root to {root / category}" if (root / category / "train" / "good").is_dir() else ""
    found = ", ".join(folders_in(root)) or "no folder"
    raise DataError(f"{root}: is not in the MVTec AD layout; expected {EXPECTED}; found {found}{hint}")
