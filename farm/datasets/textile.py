"""The textile photographs of the ``conformal-clip-data`` package (MIT): 2,000 of 250 x 250 px, no masks.

    nominal/ 1,000 normal: the first 500 of the sorted names train, the rest test
    local/     500 with a local fault      global/   500 with a global fault: the first third is few-shot, the rest test

Each JPEG has a white line of one pixel at its right and bottom, which is cut on reading. ``data.root`` may name another
folder of the same layout. A list file of few-shot photographs is used where the root has one.
"""

import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from farm.config import DataConfig
from farm.datasets.gather import Found, few_shots, gather
from farm.datasets.photo import Photo, PhotoSet
from farm.datasets.tree import folders_in, photos_in, read_licence, selected_defects
from farm.errors import DataError

PACKAGE, DISTRIBUTION = "conformal_clip_data", "conformal-clip-data"
NORMAL, DEFECTS = "nominal", ("local", "global")
TRAIN_COUNT = 500
PHOTO = re.compile(rf"({'|'.join((NORMAL, *DEFECTS))})/textile_\d+\.jpg")  # paths of no other layout
BORDER_PX = 1
FEW_SHOT = str(DataConfig.model_fields["few_shot"].default)


def load(config: DataConfig) -> PhotoSet:
    """The textile photographs. Raises ``DataError`` (``farm.datasets.load_photos`` says when)."""
    root = Path(config.root).expanduser().absolute() if config.root else _packaged()
    if not (root / NORMAL).is_dir():
        there = ", ".join(folders_in(root)) or "no folder"
        raise DataError(f"{root}: expected nominal/, local/ and global/; found {there}. Mend data.root")
    kinds = selected_defects([name for name in DEFECTS if (root / name).is_dir()], config.defects, root)
    found = [item for name in (NORMAL, *kinds) for item in _class(root, name)]
    if config.few_shot == FEW_SHOT and not (root / FEW_SHOT).exists():
        config = config.model_copy(update={"few_shot": "third"})
    found, refused = few_shots(found, config, root)
    licence = read_licence(root) if config.root else _licence()
    return gather(config, root, found, licence, refused)


def border_px(photo: Photo) -> int:
    """How many columns at the right and rows at the bottom of a photograph are no picture: 1 for a textile, else 0."""
    return BORDER_PX if PHOTO.fullmatch(photo.relative) else 0


def _class(root: Path, name: str) -> list[Found]:
    return [
        Found(
            path=path,
            relative=f"{name}/{path.name}",
            split="train" if name == NORMAL and index < TRAIN_COUNT else "test",
            defect=None if name == NORMAL else name,
            group=f"{name}/{path.stem}",
        )
        for index, path in enumerate(photos_in(root / name))
    ]


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise DataError(
            "data.kind 'textile': the package conformal-clip-data is not installed; pip install defectfarm[demo]"
        )
    return Path(spec.origin).parent / "data" / "textile_images" / "simulated"


def _licence() -> str:
    """The first line of the package's licence."""
    lines = "".join(metadata.metadata(DISTRIBUTION).get_all("License") or []).strip().splitlines()
    return lines[0].strip() if lines else "unknown"
