"""A run's pictures for other programs: one file a format, behind ``base.Format``. How to read each: docs/exports.md."""

from farm.export import coco, huggingface, mvtec, webdataset, yolo
from farm.export.base import Format
from farm.export.run import SHARD_BYTES, export_run

__all__ = ["FORMATS", "SHARD_BYTES", "Format", "export_run"]

FORMATS: dict[str, Format] = {
    form.name: form for form in (mvtec.FORMAT, webdataset.FORMAT, huggingface.FORMAT, coco.FORMAT, yolo.FORMAT)
}
