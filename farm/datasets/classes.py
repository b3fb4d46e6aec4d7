"""What the layouts share that have a folder for each class: train/<good>, test/<good>, test/<defect>, and masks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from farm.config import DataConfig
from farm.datasets.gather import Found, few_shots, gather
from farm.datasets.groups import group_photos
from farm.datasets.masks import Numbers
from farm.datasets.photo import PhotoSet, RefusedPhoto
from farm.datasets.tree import category_root, folders_in, hold_layout, photos_in, read_licence, selected_defects
from farm.errors import DataError

MASK_FOLDER = str(DataConfig.model_fields["mask_folder"].default)


@dataclass(frozen=True)
class Layout:
    """A layout by its names. ``mask_of``: a photograph, the masks' folder of its defect → where its mask has to be."""

    name: str
    good: str
    expected: str
    mask_of: Callable[[Path, Path], Path]
    licence: str = "unknown"  # as published, for a folder that does not say

    def is_root(self, root: Path) -> bool:
        """Whether ``root`` is laid out so."""
        return all((root / split / self.good).is_dir() for split in ("train", "test"))

    def root_of(self, config: DataConfig) -> Path:
        """The folder that ``config`` names. Raises ``DataError`` unless it is laid out so."""
        root = category_root(config)
        hold_layout(root, config.category, self.is_root, self.name, self.expected)
        return root


def load_classes(
    config: DataConfig,
    root: Path,
    layout: Layout,
    numbers: Numbers | None = None,
    left_out: Iterable[RefusedPhoto] = (),
) -> PhotoSet:
    """The photographs below ``root``: train/<good> trains, the rest is test but for the few-shot photographs.

    ``numbers`` as in ``Found``, ``left_out`` as in ``gather``.
    """
    masks = _mask_folder(root, config.mask_folder)
    kinds = [name for name in folders_in(root / "test") if name != layout.good]
    defects = selected_defects(kinds, config.defects, root)
    everything = [
        *[(path, layout.good) for path in photos_in(root / "train" / layout.good)],
        *[(path, name) for name in folders_in(root / "test") for path in photos_in(root / "test" / name)],
    ]
    groups = group_photos(path.relative_to(root).as_posix() for path, _ in everything)
    found = [
        _found(path, path.relative_to(root).as_posix(), name, groups, masks, layout)
        for path, name in everything
        if name == layout.good or name in defects
    ]
    found, refused = few_shots([replace(item, numbers=numbers) for item in found], config, root)
    return gather(config, root, found, read_licence(root, layout.licence), refused, left_out)


def _found(path: Path, relative: str, name: str, groups: dict[str, str], masks: Path | None, layout: Layout) -> Found:
    defect = None if name == layout.good else name
    return Found(
        path=path,
        relative=relative,
        split="train" if relative.startswith("train/") else "test",
        defect=defect,
        group=groups[relative],
        mask=None if defect is None or masks is None else layout.mask_of(path, masks / defect),
    )


def _mask_folder(root: Path, name: str) -> Path | None:
    if (root / name).is_dir():
        return root / name
    if name == MASK_FOLDER:  # a set without masks: image-level metrics only
        return None
    raise DataError(
        f"{root / name}: no such mask folder; found {', '.join(folders_in(root)) or 'none'}. Mend data.mask_folder"
    )
