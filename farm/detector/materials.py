"""What training images are made of: normals, few-shot masks and the kept rows of a judged run. Needs no torch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from farm.config import Run
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import PhotoSet
from farm.detector.two_stage import Stage
from farm.errors import DataError
from farm.ids import digest
from farm.images import decode_image
from farm.methods.base import Pixels
from farm.run_folder import RunFolder
from farm.source_index import read_index

Part = Literal["train", "validation"]

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


def stage_materials(run: Run, folder: RunFolder, stage: Stage, part: Part = "train") -> Materials:
    """What ``stage`` learns from, or what is held out of it for validation (``train.validation_share``)."""
    photos, share = read_index(folder), run.train.validation_share
    held = held_out([photo.photo_id for photo in photos.train], share)
    mine = tuple(photo for photo in photos.train if (photo.photo_id in held) == (part == "validation"))
    if part == "validation" and not mine:
        raise DataError(
            f"{run.data.category}: nothing can be held out of {len(photos.train)} normal photograph(s); "
            "give two or more, or set train.validation_share to 0"
        )
    photos = replace(photos, train=mine)
    if stage == "stage1":
        return read_materials(run, photos)
    ids = _row_ids(folder, share, held, part) if share else None
    kept = read_kept(folder, run.train.detector.reconstructs, ids)
    return read_materials(run, photos, kept, read_kept_normals(folder, ids))


def held_out(ids: Sequence[str], share: float) -> frozenset[str]:
    """Those of ``ids`` that are for validation: about ``share`` of them, by a hash of each.

    Where ``share`` is not 0 and there are two or more, at least one is held out and at least one is not.
    """
    if not share or len(ids) < 2:
        return frozenset()
    places = {name: int.from_bytes(digest("held out", name)[:8], "little") / 2**64 for name in ids}
    wanted = sum(place < share for place in places.values())
    return frozenset(sorted(places, key=lambda name: places[name])[: min(max(wanted, 1), len(places) - 1)])


def _row_ids(folder: RunFolder, share: float, held: Collection[str], part: Part) -> frozenset[str]:
    """The kept rows of ``part``; one that was made of a held-out photograph is held out with it."""
    tables = list(folder.kept(["sample_id", "source_id"]))
    sources = {row["sample_id"]: row["source_id"] for table in tables for row in table.to_pylist()}
    rows = held_out(list(sources), share) | {name for name, source in sources.items() if source in held}
    return rows if part == "validation" else frozenset(sources) - rows


def read_materials(run: Run, photos: PhotoSet, kept: Kept | None = None, generated: Sequence[Pixels] = ()) -> Materials:
    """Read the normals and the few-shot masks of ``photos``; test photographs cannot get in by their type.

    ``generated`` normals (S, S, 3) join those of ``photos``.
    """
    if not photos.train:
        raise DataError(f"{run.data.category}: no normal photographs to learn from; check data.root")
    normals = [read_photo(photo, run.size_px, run.data.max_megapixels) for photo in photos.train]
    masks = [read_mask(shot, run.size_px, run.data.max_megapixels) for shot in photos.shots if shot.mask_path]
    return Materials(np.stack([*normals, *generated]), tuple(mask for mask in masks if mask.any()), kept)


def read_kept(folder: RunFolder, sources: bool = False, ids: Collection[str] | None = None) -> Kept:
    """The kept defects of a judged run, in row order; with their sources where a detector learns from these.

    ``ids`` are the rows to read, None = all.
    """
    columns = (*KEPT_COLUMNS, SOURCE) if sources else KEPT_COLUMNS
    tables = _kept_rows(folder, "defect", columns, ids)
    if not tables:
        empty = pa.chunked_array([], type=pa.binary())
        return Kept(empty, empty, (), empty if sources else None)
    return kept_defects(pa.concat_tables(tables))


def read_kept_normals(folder: RunFolder, ids: Collection[str] | None = None) -> list[Pixels]:
    """The kept generated normals (S, S, 3) of a judged run, in row order; ``ids`` as in ``read_kept``."""
    tables = _kept_rows(folder, "normal", ["kind", "image_png"], ids)
    images = [png for table in tables for png in table["image_png"].to_pylist()]
    return [decode_image(png, f"kept normal {place}") for place, png in enumerate(images)]


def _kept_rows(folder: RunFolder, kind: str, columns: Sequence[str], ids: Collection[str] | None) -> list[pa.Table]:
    """The kept rows of ``kind`` of each shard, with ``columns``."""
    if ids is None:
        return [table.filter(pc.equal(table["kind"], kind)) for table in folder.kept(columns)]
    wanted = pa.array(sorted(ids), type=pa.string())
    tables = (table.filter(pc.equal(table["kind"], kind)) for table in folder.kept([*columns, "sample_id"]))
    return [table.filter(pc.is_in(table["sample_id"], value_set=wanted)).select(list(columns)) for table in tables]


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
