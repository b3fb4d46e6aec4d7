"""A folder for Hugging Face ``datasets``: Parquet files with the pictures in them, and the card as README.md.

data/train-00000.parquet    image, mask, label, and what is known of each picture

The types that ``load_dataset`` shows (Image, ClassLabel) are told by the schema's metadata, as that library writes it.
"""

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from farm.export.base import Format
from farm.export.contents import Contents
from farm.export.output import Output
from farm.export.pictures import FACTS, Picture

GROUP_ROWS = 100  # pictures of a row group: what a reader and this writer hold in memory
_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_TYPES = {"str": pa.string(), "int64": pa.int64(), "float32": pa.float32()}
_VALUES = {"str": "string", "int64": "int64", "float32": "float32"}


def _write(pictures: Iterable[Picture], contents: Contents, out: Output) -> None:
    schema, waiting = _schema(contents.labels), iter(pictures)
    number, first = 0, next(waiting, None)
    while first is not None:
        with out.file(f"data/train-{number:05d}.parquet") as file:
            first = _fill(file, first, waiting, contents.labels, schema, out.shard_bytes)
        number += 1


def _fill(
    file: IO[bytes], first: Picture, waiting: Iterator[Picture], labels: tuple[str, ...], schema: pa.Schema, most: int
) -> Picture | None:
    """A Parquet file of ``first`` and more, up to ``most`` bytes of pictures; returns the first of the next file."""
    rows: list[dict[str, Any]] = []
    picture: Picture | None = first
    size = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while picture is not None and (picture is first or size + _size(picture) <= most):
            size += _size(picture)
            rows.append(_row(picture, labels))
            if len(rows) == GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
            picture = next(waiting, None)
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return picture


def _size(picture: Picture) -> int:
    return len(picture.image_png) + len(picture.mask_png)


def _row(picture: Picture, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "image": {"bytes": picture.image_png, "path": f"{picture.name}.png"},
        "mask": {"bytes": picture.mask_png, "path": f"{picture.name}_mask.png"},
        "label": labels.index(picture.label),
        **picture.facts,
    }


def _schema(labels: tuple[str, ...]) -> pa.Schema:
    pictures = {"image": {"_type": "Image"}, "mask": {"_type": "Image"}}
    values = {column.name: {"dtype": _VALUES[column.dtype], "_type": "Value"} for column in FACTS}
    features = {**pictures, "label": {"names": list(labels), "_type": "ClassLabel"}, **values}
    fields = [("image", _IMAGE), ("mask", _IMAGE), ("label", pa.int64())]
    fields += [(column.name, _TYPES[column.dtype]) for column in FACTS]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


FORMAT = Format(
    name="huggingface",
    write=_write,
    has_verdicts=True,
    about="Parquet files with the columns `image`, `mask` (0 and 255), `label`, and what is known of each picture.",
)
