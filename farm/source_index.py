"""``sources/index.parquet``: the photographs of a run, with split and checksum, as workers read them."""

import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from farm.datasets.photo import MaskChannel, Photo, PhotoSet, RefusedPhoto, ShotPhoto, TestPhoto, TrainPhoto
from farm.errors import RunError
from farm.parts import from_parquet, to_parquet
from farm.run_folder import RunFolder

NAME = "sources/index.parquet"
_KINDS: dict[str, type[Photo]] = {"train": TrainPhoto, "few_shot": ShotPhoto, "test": TestPhoto}
_FIELDS = ("photo_id", "path", "relative", "category", "defect", "mask_path", "group", "sha256", "mask_sha256")


def write_index(folder: RunFolder, photos: PhotoSet) -> None:
    """Write every photograph, refused ones included with their reason."""
    splits = {"train": photos.train, "few_shot": photos.shots, "test": photos.test}
    rows = [
        {
            **{field: getattr(photo, field) for field in _FIELDS},
            "channels": json.dumps([asdict(channel) for channel in photo.channels]),
            "split": split,
            "status": "used",
            "reason": "",
        }
        for split, members in splits.items()
        for photo in members
    ]
    for refused in photos.refused:
        empty = dict.fromkeys((*_FIELDS, "channels"))
        named = {**empty, "path": refused.path, "relative": refused.path, "category": photos.category}
        rows.append({**named, "split": "none", "status": "refused", "reason": refused.reason})
    names = (*_FIELDS, "channels", "split", "status", "reason")
    columns = {name: pa.array([row[name] for row in rows], type=pa.string()) for name in names}
    columns["licence"] = pa.array(np.repeat(photos.licence, len(rows)), type=pa.string())
    columns["fingerprint"] = pa.array(np.repeat(photos.fingerprint, len(rows)), type=pa.string())
    folder.store.write(NAME, to_parquet(pa.table(columns)))


def read_index(folder: RunFolder) -> PhotoSet:
    """The photographs of the run, as they were when it was planned; the splits are held apart again on building."""
    rows = from_parquet(folder.store.read(NAME)).to_pylist()
    members: dict[str, list[Photo]] = {split: [] for split in _KINDS}
    for row in rows:
        if row["status"] == "used":
            known = {field: row[field] for field in _FIELDS}
            members[row["split"]].append(_KINDS[row["split"]](**known, channels=_channels(row.get("channels"))))
    refused = tuple(RefusedPhoto(row["path"], row["reason"]) for row in rows if row["status"] == "refused")
    photos = PhotoSet(
        train=tuple(members["train"]),  # type: ignore[arg-type]
        shots=tuple(members["few_shot"]),  # type: ignore[arg-type]
        test=tuple(members["test"]),  # type: ignore[arg-type]
        refused=refused,
        category=rows[0]["category"],
        licence=rows[0]["licence"],
    )
    if photos.fingerprint != rows[0]["fingerprint"]:
        raise RunError(
            f"{folder.store.url(NAME)}: its photographs do not give its fingerprint; delete it and run again"
        )
    return photos


def _channels(text: str | None) -> tuple[MaskChannel, ...]:
    """The channels of a photograph as the index has them; none in an index from before there were any."""
    return tuple(MaskChannel(**channel) for channel in json.loads(text or "[]"))
