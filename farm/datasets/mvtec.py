"""The MVTec AD layout (card 005 section C): one category a folder, defects by folder, a mask for each defect photo.

<root>/train/good/000.png ...
<root>/test/good/000.png ...         <root>/test/<defect>/000.png ...
<root>/ground_truth/<defect>/000_mask.png    0 and 255, same size as the photograph; no folder for good
<root>/few_shot.txt                  paths of the defect photographs that may be learned from (optional)
"""

from pathlib import Path

from farm.config import DataConfig
from farm.datasets.classes import Layout, load_classes
from farm.datasets.photo import PhotoSet


def load(config: DataConfig) -> PhotoSet:
    """The photographs below ``config.root``. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    return load_classes(config, LAYOUT.root_of(config), LAYOUT)


def mask_of(path: Path, masks: Path) -> Path:
    """Where in the folder ``masks`` (of one defect) the mask of a photograph is, or has to be."""
    plain = masks / f"{path.stem}.png"
    return plain if plain.exists() else masks / f"{path.stem}_mask.png"


LAYOUT = Layout(
    name="MVTec AD",
    good="good",
    expected="train/good, test/good and test/<defect>, with masks as ground_truth/<defect>/<stem>_mask.png",
    mask_of=mask_of,
)
