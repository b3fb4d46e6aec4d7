"""Arrow tables and Parquet bytes of samples: binary columns for pictures, a fixed-size list for the embedding.

The same rows give the same bytes: one row group, fixed compression, no time stamps. No tensor columns: they are a
type that only Ray can read.
"""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from farm.rows import Array, Batch, Columns

_TYPES = {"str": pa.string(), "bytes": pa.binary()}


def to_table(batch: Batch, columns: Columns) -> pa.Table:
    """``batch`` as an Arrow table with exactly ``columns``, in their order."""
    arrays = [_to_arrow(batch[column.name], column.dtype, len(column.shape)) for column in columns]
    return pa.table(arrays, names=[column.name for column in columns])


def to_batch(table: pa.Table) -> Batch:
    """An Arrow table as NumPy columns: strings and bytes as object arrays, lists as (B, D) arrays."""
    return {name: _to_numpy(table.column(name)) for name in table.column_names}


def to_parquet(table: pa.Table) -> bytes:
    """Deterministic Parquet bytes of ``table`` (pictures are compressed already, so columns are too lightly)."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(1, table.num_rows), store_schema=False)
    return sink.getvalue()


def to_checked_parquet(table: pa.Table) -> bytes:
    """Like ``to_parquet``, with a checksum on every page: for files that no marker has a checksum of."""
    sink = io.BytesIO()
    options = {"compression": "zstd", "row_group_size": max(1, table.num_rows), "store_schema": False}
    pq.write_table(table, sink, **options, write_page_checksum=True)
    return sink.getvalue()


def from_checked_parquet(data: bytes) -> pa.Table:
    """The table of ``to_checked_parquet``; ``pyarrow.ArrowException`` or ``OSError`` where a page is damaged."""
    return pq.read_table(io.BytesIO(data), page_checksum_verification=True)


def from_parquet(data: bytes, columns: list[str] | None = None) -> pa.Table:
    """The table of a part file; ``columns`` reads a few of them only."""
    return pq.read_table(io.BytesIO(data), columns=columns)


def _to_arrow(values: Array, dtype: str, axes: int) -> Any:
    if axes == 1:
        if not values.shape[1]:  # Arrow cannot tell how many lists of length 0 there are
            return pa.array([[]] * len(values), pa.list_(pa.from_numpy_dtype(np.dtype(dtype))))
        flat = pa.array(np.ascontiguousarray(values, dtype=dtype).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, int(values.shape[1]))
    if dtype in _TYPES:
        return pa.array(list(values), type=_TYPES[dtype])
    return pa.array(np.asarray(values, dtype=dtype))


def _to_numpy(column: Any) -> Array:
    kind = column.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        chunk = column.combine_chunks()
        width = kind.list_size if pa.types.is_fixed_size_list(kind) else len(chunk[0]) if len(chunk) else 0
        flat: Array = np.asarray(chunk.flatten())
        return flat.reshape(len(chunk), width)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_pylist()
        return values
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False))
