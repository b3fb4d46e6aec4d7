"""COCO instances, in the folders that FiftyOne's COCODetectionDataset reads by default.

data/<id>.png    labels.json

One row was asked for one defect, so all that its mask marks is one instance, with holes and in however many pieces.
Masks are run lengths (RLE): polygons cannot say a hole. https://cocodataset.org/#format-data
"""

import json
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from farm.export.base import Format
from farm.export.contents import Contents
from farm.export.output import Output
from farm.export.pictures import Picture
from farm.images import Pixels


def _write(pictures: Iterable[Picture], contents: Contents, out: Output) -> None:
    classes = {name: number for number, name in enumerate(contents.defects, 1)}
    categories = [{"id": number, "name": name, "supercategory": "defect"} for name, number in classes.items()]
    with out.file("labels.json") as labels, tempfile.TemporaryFile() as annotations:
        labels.write(b'{"categories": ' + _json(categories) + b', "images": [')
        marked = 0
        for number, picture in enumerate(pictures, 1):
            out.write(f"data/{picture.name}.png", picture.image_png)
            labels.write((b",\n" if number > 1 else b"\n") + _json(_image(number, picture)))
            if picture.mask.any():
                marked += 1
                one = {"id": marked, "image_id": number, "category_id": classes[picture.label], "iscrowd": 0}
                annotations.write((b",\n" if marked > 1 else b"\n") + _json(one | _region(picture.mask)))
        labels.write(b'], "annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, labels)
        labels.write(b"]}\n")


def run_lengths(mask: Pixels) -> list[int]:
    """Lengths of the runs of 0 and 1 in turn, down the columns of ``mask`` (H, W) in {0, 1}; the first are zeros."""
    flat = np.concatenate([[0], mask.ravel(order="F")])
    ends = np.append(np.flatnonzero(np.diff(flat)), len(flat) - 1)
    lengths: list[int] = np.diff(ends, prepend=0).tolist()
    return lengths


def _image(number: int, picture: Picture) -> dict[str, Any]:
    height, width = picture.mask.shape
    return {"id": number, "file_name": f"{picture.name}.png", "width": width, "height": height, **picture.facts}


def _region(mask: Pixels) -> dict[str, Any]:
    """Area in pixels, the box [x, y, width, height] around its pixels, and the mask as uncompressed RLE."""
    segmentation = {"size": list(mask.shape), "counts": run_lengths(mask)}
    return {"area": int(mask.sum()), "bbox": list(cv2.boundingRect(mask)), "segmentation": segmentation}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


FORMAT = Format(
    name="coco",
    write=_write,
    has_verdicts=True,
    about=(
        "COCO instances: pictures in `data/`, `labels.json` with one instance a picture (box, area, mask as run "
        "lengths with its holes). A picture without an instance is a normal, or was refused."
    ),
)
