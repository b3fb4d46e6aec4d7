"""The pictures of a run as an export takes them: in row order, a shard at a time, each held against what it must be."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from farm.datasets import read_photo
from farm.datasets.photo import defect_name
from farm.errors import DataError, RunError
from farm.ids import shard_name
from farm.images import Pixels, decode_image, decode_mask, encode_mask, encode_png
from farm.plan import GOOD
from farm.rows import MADE, PLANNED, VERDICT, Array, Columns, names
from farm.run_folder import RunFolder
from farm.source_index import read_index

PHOTOGRAPH = "photograph"  # the kind of a real one; rows are defect or normal
FACTS: Columns = (*PLANNED, *(column for column in VERDICT if column.name in ("verdict", "reason", "score")))
_COLUMNS = (*names(PLANNED), "status", "image_png", "label_png")


@dataclass(frozen=True)
class Picture:
    """One picture of an export. ``name`` and ``label`` are safe as names of files and folders."""

    name: str  # sample id; photo id of a photograph
    label: str  # ``GOOD``, or the name of its defect
    image_png: bytes
    mask_png: bytes  # 0 and 255
    mask: Pixels  # the same, (H, W) in {0, 1}: 1 on pixels that show the defect
    facts: dict[str, Any]  # a value for each of ``FACTS``; the score is None where there is none


class Verdicts:
    """The verdicts of a run by row, without what an export does not say."""

    def __init__(self, folder: RunFolder) -> None:
        self._table = folder.verdicts().select(["row", "keep", "verdict", "reason", "score"]).sort_by("row")
        self._rows: Array = np.asarray(self._table["row"])
        self._where = folder.store.root
        self.kept = int(np.count_nonzero(self._table["keep"]))

    def of(self, rows: pa.ChunkedArray) -> list[dict[str, Any]]:
        """The verdict of each of ``rows``; ``RunError`` where one has none."""
        wanted: Array = np.asarray(rows)
        places = np.searchsorted(self._rows, wanted)
        there = places < len(self._rows)
        if not there.all() or (self._rows[places] != wanted).any():
            raise RunError(
                f"{self._where}: has rows without a verdict; run 'farm run' on its config, then export again"
            )
        found: list[dict[str, Any]] = self._table.take(places).to_pylist()
        return found


def label_of(kind: str, defect: str) -> str:
    """The label of a row: ``GOOD`` for a normal, else its defect. ``RunError`` for a defect that is called so."""
    if kind != "defect":
        return GOOD
    label = defect_name(defect)
    if label == GOOD:
        raise RunError(
            f"a defect is named '{defect}', which readers of every format take for no defect; name it otherwise in "
            "prompts.defects and make the run anew"
        )
    return label


def read_pictures(folder: RunFolder, everything: bool = False) -> Iterator[Picture]:
    """The kept rows of a judged run, or with ``everything`` those refused too; rows that failed have no picture.

    Raises ``RunError``, which names shard and row, for a picture that is missing, damaged or of another size than its
    mask, for a normal whose mask marks something, and at the end where kept rows are in no committed shard.
    """
    verdicts, kept = Verdicts(folder), 0
    for shard in sorted(folder.done_shards()):
        table = folder.read_shard(shard, _COLUMNS)
        for row, verdict in zip(table.to_pylist(), verdicts.of(table["row"]), strict=True):
            kept += verdict["keep"]
            if verdict["keep"] or (everything and row["status"] == MADE):
                yield _picture(row, verdict, shard, folder.store.root)
    if kept != verdicts.kept:
        raise RunError(
            f"{folder.store.root}: {verdicts.kept} rows are kept but {kept} of them are in committed shards; run the "
            "config again, then export"
        )


def read_photographs(folder: RunFolder) -> Iterator[Picture]:
    """The run's real normals of the training split, at the run's size; few-shot and test photographs never."""
    run = folder.run()
    for photo in read_index(folder).train:
        image = read_photo(photo, run.size_px, run.data.max_megapixels)
        mask = np.zeros(image.shape[:2], np.uint8)
        facts: dict[str, Any] = {column.name: "" if column.dtype == "str" else 0 for column in FACTS}
        facts |= {"row": -1, "kind": PHOTOGRAPH, "category": photo.category, "defect": GOOD, "score": None}
        facts |= {"sample_id": photo.photo_id, "source_id": photo.photo_id}
        yield Picture(photo.photo_id, GOOD, encode_png(image), encode_mask(mask), mask, facts)


def _picture(row: dict[str, Any], verdict: dict[str, Any], shard: int, root: str) -> Picture:
    where = f"{root}, {shard_name(shard)}, {row['sample_id']}"
    try:
        image = decode_image(row["image_png"], "image")
        mask = decode_mask(row["label_png"], "mask")
        if image.shape[:2] != mask.shape:
            raise DataError(f"image {image.shape[:2]} and mask {mask.shape} must have one size")
        if row["kind"] != "defect" and mask.any():
            raise DataError(f"a {row['kind']} whose mask marks {int(mask.sum())} pixels as a defect")
    except DataError as error:
        raise RunError(
            f"{where}: {error}. Run 'farm verify {root} --repair', then the config again, then export"
        ) from error
    facts = {name: (row | verdict)[name] for name in names(FACTS)}
    facts["score"] = None if np.isnan(verdict["score"]) else verdict["score"]
    label = label_of(row["kind"], row["defect"])
    return Picture(row["sample_id"], label, row["image_png"], row["label_png"], mask, facts)
