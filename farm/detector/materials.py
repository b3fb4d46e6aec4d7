"""What training images are made of: normals, few-shot masks and the kept rows of a judged run. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from farm.config import Run
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import PhotoSet
from farm.errors import DataError
from farm.images import decode_image
from farm.methods.base import Pixels
from farm.run_folder import RunFolder

KEPT_COLUMNS = ("kind", "method", "defect", "image_png", "label_png")
SOURCE = "source_png"  # read only where a detector learns from sources


@dataclass(frozen=True)
class Kept:
    """The kept generated defects as PNG, and their places by (method, defect), so that each pair is drawn alike.

    ``kept_defects`` makes it and lets no normal in; ``read_kept_normals`` gives those.
    """

    image_png: pa.ChunkedArray
    label_png: pa.ChunkedArray
    groups: tuple[npt.NDArray[np.int64], ...]
    source_png: pa.ChunkedArray | None = None  # None = not asked for

    def __len__(self) -> int:
        return len(self.image_png)


@dataclass(frozen=True)
class Materials:
    """What images are made of. Read once, then shared by all makers."""

    normals: Pixels  # (N, S, S, 3): photographs and, in stage 2, kept generated normals
    shot_masks: tuple[Pixels, ...]  # (S, S) each
    kept: Kept | None


def read_materials(run: Run, photos: PhotoSet, kept: Kept | None = None, generated: Sequence[Pixels] = ()) -> Materials:
    """Read the normals and the few-shot masks of ``photos``; test photographs cannot get in by their type.

    ``generated`` normals (S, S, 3) join those of ``photos``.
    """
    if not photos.train:
        raise DataError(f"{run.data.category}: no normal photographs to learn from; check data.root")
    normals = [read_photo(photo, run.size_px, run.data.max_megapixels) for photo in photos.train]
    masks = [read_mask(shot, run.size_px, run.data.max_megapixels) for shot in photos.shots if shot.mask_path]
    return Materials(np.stack([*normals, *generated]), tuple(mask for mask in masks if mask.any()), kept)


def read_kept(folder: RunFolder, sources: bool = False) -> Kept:
    """The kept defects of a judged run, in row order; with their sources where a detector learns from these."""
    columns = (*KEPT_COLUMNS, SOURCE) if sources else KEPT_COLUMNS
    tables = [table.filter(pc.equal(table["kind"], "defect")) for table in folder.kept(columns)]
    if not tables:
        empty = pa.chunked_array([], type=pa.binary())
        return Kept(empty, empty, (), empty if sources else None)
    return kept_defects(pa.concat_tables(tables))


def read_kept_normals(folder: RunFolder) -> list[Pixels]:
    """The kept generated normals (S, S, 3) of a judged run, in row order."""
    tables = [table.filter(pc.equal(table["kind"], "normal")) for table in folder.kept(["kind", "image_png"])]
    images = [png for table in tables for png in table["image_png"].to_pylist()]
    return [decode_image(png, f"kept normal {place}") for place, png in enumerate(images)]


def kept_defects(table: pa.Table) -> Kept:
    """``table`` with ``KEPT_COLUMNS`` as what defects are drawn from. ``DataError`` where a row is no defect."""
    others = table.filter(pc.not_equal(table["kind"], "defect"))
    if len(others):
        raise DataError(
            f"kept images: {len(others)} of {len(table)} rows are of kind '{others['kind'][0].as_py()}', first of "
            f"method '{others['method'][0].as_py()}'; a normal is never learned as a defect; read_kept_normals takes it"
        )
    pairs = list(zip(table["method"].to_pylist(), table["defect"].to_pylist(), strict=True))
    groups = [np.flatnonzero([pair == wanted for pair in pairs]) for wanted in sorted(set(pairs))]
    sources = table[SOURCE] if SOURCE in table.column_names else None
    return Kept(table["image_png"], table["label_png"], tuple(groups), sources)
