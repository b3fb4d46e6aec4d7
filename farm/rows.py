"""The row contract: every column of a sample, with dtype, shape and meaning. No second list of them exists.

A batch is ``dict[str, np.ndarray]`` with first axis B. Columns are added on the way, never renamed:

    PLANNED → SOURCED (pixels of source and mask) → GENERATED → EMBEDDED; ENCODED is what a part file stores

``EMBEDDINGS`` are what an embedder adds to a row.

Pixels are uint8 sRGB between stages, masks uint8 in {0, 1}. Wall-clock time never enters a row, so that two runs of
one plan write the same bytes; seconds are kept beside the part (``costs`` in ``done.json``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.errors import RowError

Array = npt.NDArray[np.generic]
Batch = dict[str, Array]


@dataclass(frozen=True)
class Column:
    """One column: ``dtype`` is a NumPy name, ``str`` or ``bytes``; ``shape`` is the shape of one row's value."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    meaning: str


Columns = tuple[Column, ...]

STATUSES = MADE, FAILED, POISONED = "made", "failed", "poisoned"
VERDICTS = ("kept", "refused", FAILED, POISONED)  # one of these in the end, for every planned row

PLANNED: Columns = (
    Column("row", "int64", (), "row number in the plan; unique in the run, the id that FAISS sees"),
    Column("sample_id", "str", (), "hash of (plan fingerprint, row); never reused"),
    Column("seed", "int64", (), "the only source of randomness for this row"),
    Column("method", "str", (), "name of the arm that makes the image, as in the config"),
    Column("recipe", "str", (), "the way inside the method, e.g. copy_paste; empty where there is one way only"),
    Column("kind", "str", (), "what the image is: defect or normal"),
    Column("category", "str", (), "product category"),
    Column("defect", "str", (), "defect name of the prompt table; of a rule, its recipe; of a normal, good"),
    Column("prompt", "str", (), "text of the defect pass; empty for a rule"),
    Column("normal_prompt", "str", (), "text of the background pass"),
    Column("source_id", "str", (), "photo id of the defect-free photograph"),
    Column("mask_kind", "str", (), "where the target mask comes from: perlin, procedural or real"),
)
SOURCED: Columns = (
    *PLANNED,
    Column("source", "uint8", ("H", "W", 3), "defect-free photograph, sRGB"),
    Column("mask", "uint8", ("H", "W"), "1 where the defect is to appear, 0 elsewhere"),
)
FACTS: Columns = (
    Column("status", "str", (), "made, failed or poisoned"),
    Column("error", "str", (), "stage and message of a row that is not made, else empty"),
    Column("objection", "str", (), "a reason for refusal that the method itself found, else empty"),
    Column("evaluations", "int32", (), "network evaluations spent on this row"),
    Column(
        "background_error", "float32", (), "mean |image - source| outside the dilated mask before compositing, 0..255"
    ),
    Column("mean_change", "float32", (), "mean |image - source| over the whole image, 0..255"),
    Column("changed_area", "float32", (), "share of pixels with a mean channel change above 1/255"),
    Column("ssim_outside", "float32", (), "structural similarity to the source outside the mask, 1 = identical"),
    Column("grain", "float32", (), "mean |image - its 3 x 3 median| over the changed pixels, 0..255"),
)
GENERATED: Columns = (
    *SOURCED,
    Column("image", "uint8", ("H", "W", 3), "the synthetic photograph, sRGB"),
    Column("label", "uint8", ("H", "W"), "refined mask: 1 on pixels that really show the defect"),
    *FACTS,
)
EMBEDDINGS: Columns = (
    Column("embedding", "float32", ("D",), "unit vector of the image; zeros if failed"),
    Column("crops", "float32", ("E",), "unit vectors of its crops, one behind the other; E = 0 if none are asked for"),
    Column("text_margin", "float32", (), "cosine to the prompt less that to normal_prompt; NaN if not asked for"),
)
EMBEDDED: Columns = (*GENERATED, *EMBEDDINGS)
JUDGED: Columns = (*PLANNED, *FACTS, *EMBEDDINGS)
ENCODED: Columns = (
    *PLANNED,
    *FACTS,
    Column("source_png", "bytes", (), "source as PNG; empty if it could not be read"),
    Column("mask_png", "bytes", (), "target mask as 8-bit PNG, 0 and 255"),
    Column("image_png", "bytes", (), "image as PNG; empty if failed"),
    Column("label_png", "bytes", (), "refined mask as 8-bit PNG, 0 and 255; empty if failed"),
    *EMBEDDINGS,
)
VERDICT: Columns = (
    Column("row", "int64", (), "row number in the plan"),
    Column("sample_id", "str", (), "as planned"),
    Column("keep", "bool", (), "whether the image goes to training"),
    Column("verdict", "str", (), "kept, refused, failed or poisoned"),
    Column("reason", "str", (), "why not kept, else empty"),
    Column("score", "float32", (), "mean cosine to the k nearest normals"),
    Column("crop_score", "float32", (), "how near its defect is to normals or to real defects; NaN if not asked for"),
    Column("grid_score", "float32", (), "the lowest score of its grid of crops; NaN if not asked for"),
    Column("nearest", "str", (), "photo id of the nearest normal"),
    Column("neighbour", "int64", (), "row of the kept image it duplicates, -1 if none"),
    Column("twin", "str", (), "photo id of the few-shot, test or normal photograph that it copies, else empty"),
)


def names(columns: Columns) -> list[str]:
    """The column names in order."""
    return [column.name for column in columns]


def check(batch: Mapping[str, Array], columns: Columns, where: str) -> None:
    """Hold ``batch`` against ``columns``; raise ``RowError`` naming ``where``, the column and what was found."""
    sizes: dict[str, tuple[str, int]] = {}
    for column in columns:
        if column.name not in batch:
            raise RowError(
                f"{where}: column '{column.name}' is missing; found {', '.join(sorted(batch)) or 'no columns'}"
            )
        _check_column(np.asarray(batch[column.name]), column, sizes, where)


def _check_column(values: Array, column: Column, sizes: dict[str, tuple[str, int]], where: str) -> None:
    kind_ok = (
        values.dtype.kind in "OUST" if column.dtype in ("str", "bytes") else values.dtype == np.dtype(column.dtype)
    )
    if not kind_ok:
        raise RowError(f"{where}: column '{column.name}' has dtype {values.dtype}; it must be {column.dtype}")
    wanted: Sequence[str | int] = ("B", *column.shape)
    if values.ndim != len(wanted):
        raise RowError(
            f"{where}: column '{column.name}' has {values.ndim} axes {values.shape}; it must be ({_shape(wanted)})"
        )
    for axis, size in zip(wanted, values.shape, strict=True):
        if isinstance(axis, int):
            if size != axis:
                raise RowError(f"{where}: column '{column.name}' has {values.shape}; it must be ({_shape(wanted)})")
            continue
        other, known = sizes.setdefault(axis, (column.name, size))
        if known != size:
            raise RowError(f"{where}: column '{column.name}' has {axis}={size} but '{other}' has {axis}={known}")


def _shape(axes: Sequence[str | int]) -> str:
    return ", ".join(str(axis) for axis in axes)
