"""VisA as published and as converted (card 005 section C).

VisA/<object>/Data/Images/Normal/0000.JPG ...    VisA/<object>/Data/Images/Anomaly/000.JPG ...
VisA/<object>/Data/Masks/Anomaly/000.png         0, and the number of a class elsewhere: all but 0 is defect
VisA/<object>/image_anno.csv                     image, label, mask: the types of defect in each photograph
VisA/split_csv/1cls.csv                          object, split, label, image, mask: what trains and what is test

``data.root`` is VisA/<object>; paths in both tables begin with <object>. A defect is called by its label. Where a label
lists several ("bubble,discolor") the defect is ``combined``, as MVTec AD calls it: the mask does not tell them apart.
Files that the split does not name are let be.

VisA_pytorch/1cls/<object>/ is in the MVTec AD layout, with the one defect ``bad`` and masks of 0 and 255; so is a tree
with a folder for each type of defect.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from farm.config import DataConfig
from farm.datasets import mvtec
from farm.datasets.classes import load_classes
from farm.datasets.files import read_text
from farm.datasets.gather import LINE, Found, few_shots, gather
from farm.datasets.groups import group_photos
from farm.datasets.masks import any_number
from farm.datasets.photo import SHOWN, PhotoSet, RefusedPhoto
from farm.datasets.tree import category_root, hold_layout, is_inside, natural, read_licence, selected_defects
from farm.errors import DataError

IMAGES = ("Data/Images/Normal", "Data/Images/Anomaly")
SPLIT, SPLIT_COLUMNS = "split_csv/1cls.csv", ("object", "split", "label", "image", "mask")
LABELS, LABEL_COLUMNS = "image_anno.csv", ("image", "label", "mask")
NORMAL, COMBINED = "normal", "combined"
EXPECTED = "Data/Images/Normal and Data/Images/Anomaly (VisA/<object>), or train/good and test/good (VisA_pytorch/1cls)"
LICENCE = "CC BY 4.0"

Row = dict[str, str]


def load(config: DataConfig) -> PhotoSet:
    """The photographs below ``config.root``. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    root = category_root(config)
    hold_layout(root, config.category, _is_root, "VisA", EXPECTED)
    if not _is_published(root):
        return load_classes(config, root, replace(mvtec.LAYOUT, licence=LICENCE))
    found, refused = _read(root)
    kinds = list(dict.fromkeys(item.defect for item in found if item.defect is not None))
    wanted = (None, *selected_defects(sorted(kinds), config.defects, root))
    found, lines = few_shots([item for item in found if item.defect in wanted], config, root)
    licence = read_licence(root, read_licence(root.parent, LICENCE))
    return gather(config, root, found, licence, [*refused, *lines])


def _is_root(root: Path) -> bool:
    return _is_published(root) or mvtec.LAYOUT.is_root(root)


def _is_published(root: Path) -> bool:
    return all((root / folder).is_dir() for folder in IMAGES)


def _read(root: Path) -> tuple[list[Found], list[RefusedPhoto]]:
    """The object's photographs that the split names, in natural order, and its lines that name none, with reasons."""
    labels = {row["image"]: row["label"] for row in _table(root / LABELS, root, LABEL_COLUMNS)}
    found: dict[str, Found] = {}
    refused: list[RefusedPhoto] = []
    for row in _rows(root):
        try:
            item = _found(row, labels, root)
            if item.relative in found:
                raise DataError(f"{SPLIT}: {row['image'][:LINE]}: is named twice; take one line out")
            found[item.relative] = item
        except DataError as error:
            refused.append(RefusedPhoto(row["image"][:LINE], str(error)))
    groups = group_photos(found)
    ordered = sorted(found.values(), key=lambda item: natural(item.relative))
    return [replace(item, group=groups[item.relative]) for item in ordered], refused


def _rows(root: Path) -> list[Row]:
    """The lines of the split that are of the object. Raises ``DataError`` if there is none."""
    where = root.parent / SPLIT
    rows = _table(where, root.parent, SPLIT_COLUMNS)
    mine = [row for row in rows if row["object"] == root.name]
    if not mine:
        objects = ", ".join(list(dict.fromkeys(row["object"][:LINE] for row in rows))[:SHOWN]) or "no line at all"
        raise DataError(
            f"{where}: has no line of the object '{root.name}'; found {objects}. Call the folder as its object"
        )
    return mine


def _found(row: Row, labels: dict[str, str], root: Path) -> Found:
    relative = _below(row["image"], root)
    if not (root / relative).is_file():
        raise DataError(f"{SPLIT}: {row['image'][:LINE]}: is not there; copy it again, or take its line out")
    match row["split"], row["label"]:
        case ("train" | "test") as split, "normal":
            return Found(root / relative, relative, split, None, relative)
        case "test", "anomaly" if not row["mask"]:
            raise DataError(f"{SPLIT}: {row['image'][:LINE]}: has no mask; copy the table again from the published set")
        case "test", "anomaly":
            defect = _defect(row["image"], labels)
            mask = root / _below(row["mask"], root)
            return Found(root / relative, relative, "test", defect, relative, mask, any_number(defect))
        case split, label:
            raise DataError(
                f"{SPLIT}: {row['image'][:LINE]}: is of split '{split[:LINE]}' and label '{label[:LINE]}'; in this "
                "split normal ones are of train or test, and an anomaly is of test"
            )


def _defect(image: str, labels: dict[str, str]) -> str:
    """What an anomaly shows, by its line in ``image_anno.csv``."""
    if image not in labels:
        raise DataError(f"{LABELS}: has no line of {image[:LINE]}; take the table and the split from one version")
    kinds = [kind for part in labels[image].split(",") if (kind := part.strip())]
    if not kinds or NORMAL in kinds:
        raise DataError(f"{LABELS}: calls {image[:LINE]} '{labels[image][:LINE]}', but {SPLIT} an anomaly; mend one")
    return kinds[0] if len(kinds) == 1 else COMBINED


def _below(entry: str, root: Path) -> str:
    """``entry`` (<object>/Data/...) as a path below the object's folder; ``DataError`` if it leads elsewhere."""
    parts = PurePosixPath(entry).parts
    if parts[:1] != (root.name,) or ".." in parts or not is_inside(root.parent / entry, root):
        raise DataError(f"{SPLIT}: {entry[:LINE]}: leaves {root}; name files below it, as {root.name}/Data")
    return PurePosixPath(*parts[1:]).as_posix()


def _table(where: Path, root: Path, columns: Sequence[str]) -> list[Row]:
    """The lines of a CSV file below ``root``. Raises ``DataError`` where it is missing or has other columns."""
    if not is_inside(where, root) or not where.is_file():
        raise DataError(f"{where}: is missing; copy it from the published set, where it has {', '.join(columns)}")
    reader = csv.DictReader(io.StringIO(read_text(where, "a table has one photograph a line")), restval="")
    try:
        found = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = found
        rows = list(reader)
    except csv.Error as error:
        raise DataError(
            f"{where}: after line {reader.line_num}: {error}; copy it again from the published set"
        ) from error
    if missing := [name for name in columns if name not in found]:
        raise DataError(
            f"{where}: its first line has no {', '.join(missing)}; it must have {', '.join(columns)}; found "
            f"{', '.join(found)[:LINE] or 'nothing'}. Copy it again from the published set"
        )
    return [{name: row[name].strip() for name in columns} for row in rows]
