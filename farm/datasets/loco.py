"""The MVTec LOCO AD layout (card 005 section C): a mask is a folder of regions, and a region's number names its defect.

<root>/train/good/000.png ...
<root>/validation/good/000.png ...   normal and published for calibration: left out of all splits, with that reason
<root>/test/good/000.png ...         <root>/test/logical_anomalies/000.png ...   <root>/test/structural_anomalies/...
<root>/ground_truth/<defect>/000/000.png 001.png ...    one file a region: 0, and one number elsewhere
<root>/defects_config.json           for each number: defect_name, saturation_threshold, relative_saturation

``Photo.defect`` is the folder (logical or structural, as results are published); ``Photo.channels`` are the regions,
each with its defect_name and how much of it must be found (sPRO). The published protocol learns from no defect:
``few_shot: none``.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from farm.config import DataConfig
from farm.datasets.classes import Layout, load_classes
from farm.datasets.files import read_text
from farm.datasets.masks import LARGEST_NUMBER, Numbers, Region
from farm.datasets.photo import PhotoSet, RefusedPhoto
from farm.datasets.tree import is_inside, photos_in, shown
from farm.errors import DataError

CONFIG = "defects_config.json"
KEYS = "defect_name, pixel_value, saturation_threshold and relative_saturation"
VALIDATION = "validation/good"


class _Defect(BaseModel):
    """One entry of ``defects_config.json``; further keys are let be."""

    defect_name: str = Field(min_length=1)
    pixel_value: Annotated[int, Field(strict=True, ge=1, le=LARGEST_NUMBER)]
    saturation_threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    relative_saturation: Annotated[bool, Field(strict=True)]


def load(config: DataConfig) -> PhotoSet:
    """The photographs below ``config.root``. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    root = LAYOUT.root_of(config)
    left_out = [RefusedPhoto(shown(path), _reason(path)) for path in photos_in(root / VALIDATION)]
    return load_classes(config, root, LAYOUT, read_regions(root), left_out)


def read_regions(root: Path) -> Numbers:
    """What ``defects_config.json`` says of each number. Raises ``DataError`` where it is missing or says it wrongly."""
    where = root / CONFIG
    if not is_inside(where, root) or not where.is_file():
        raise DataError(
            f"{where}: is missing; it names the defects and how much of each must be found ({KEYS}). Take it from the "
            "published set"
        )
    try:
        entries = TypeAdapter(list[_Defect]).validate_json(read_text(where, f"it lists {KEYS} of each defect"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(
            f"{where}: {place}: {first['msg']}; it must be a list with {KEYS} of each defect. Take it from the "
            "published set"
        ) from error
    numbers = {
        entry.pixel_value: Region(entry.defect_name, entry.saturation_threshold, entry.relative_saturation)
        for entry in entries
    }
    if len(numbers) < len(entries):
        raise DataError(f"{where}: gives a pixel_value to two defects; each needs its own. Take the published file")
    return numbers


def _reason(path: Path) -> str:
    return (
        f"{VALIDATION}/{shown(path.name)}: normal, of the split that is published for calibration; it is neither "
        "learned from nor evaluated"
    )


LAYOUT = Layout(
    name="MVTec LOCO AD",
    good="good",
    expected=(
        "train/good, test/good, test/logical_anomalies and test/structural_anomalies, with masks as "
        f"ground_truth/<defect>/<stem>/000.png, and {CONFIG}"
    ),
    mask_of=lambda path, masks: masks / path.stem,
    licence="CC BY-NC-SA 4.0",
)
