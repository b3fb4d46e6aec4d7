"""The BTAD layout (card 005 section C): ``ok`` and ``ko``, one kind of defect, formats that differ by category.

<root>/train/ok/0000.bmp ...         <root>/test/ok/0000.bmp ...    <root>/test/ko/0000.bmp ...
<root>/ground_truth/ko/0000.png      0 and 255, same size as the photograph

<root> is a category's folder, 01, 02 or 03 of BTech_Dataset_transformed. Photographs are BMP (01, 03) or PNG (02); a
mask is PNG or BMP whatever its photograph is. The one defect is called ``ko``, as its folder.
"""

from pathlib import Path

from farm.config import DataConfig
from farm.datasets.classes import Layout, load_classes
from farm.datasets.photo import PhotoSet


def load(config: DataConfig) -> PhotoSet:
    """The photographs below ``config.root``. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    return load_classes(config, LAYOUT.root_of(config), LAYOUT)


def mask_of(path: Path, masks: Path) -> Path:
    """Where the mask of a photograph is, or has to be."""
    bitmap = masks / f"{path.stem}.bmp"
    return bitmap if bitmap.exists() else masks / f"{path.stem}.png"


LAYOUT = Layout(
    name="BTAD",
    good="ok",
    expected="train/ok, test/ok and test/ko, with masks as ground_truth/ko/<stem>.png or .bmp",
    mask_of=mask_of,
    licence="CC BY-NC-SA 4.0",
)
