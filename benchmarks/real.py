"""The main job on real photographs: python benchmarks/real.py bsdata --data FOLDER [--set a.b=c ...]

Runs ``configs/<name>.yaml`` (done phases are skipped), writes ``results/<name>.json`` and a strip of images that the
farm made, ``docs/images/<name>.png``. The bar: every planned row is accounted for, ``farm verify`` finds the run whole,
and both stages have numbers. What stage 2 gains is reported, whatever it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from cluster.flow import Flow
from cluster.progress import Shown
from farm.config import load
from farm.images import decode_image, encode_png
from farm.metrics import auroc, gain_interval
from farm.run_folder import RunFolder
from farm.source_index import read_index
from farm.verify import verify

SHOWN = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_f1", "aupro")
STAGES = ("stage1", "stage2")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=("demo", "bsdata", "magnetic_tile"))
    parser.add_argument("--data", help="the folder of the category (not for demo)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    given = parser.parse_args()
    run = load(
        _report.ROOT / "configs" / f"{given.name}.yaml",
        [*([f"data.root={given.data}"] if given.data else []), *given.overrides],
    )
    result = Flow(run, Shown()).all()
    folder = RunFolder(run.output)
    found = verify(folder)
    figures = measure(folder, result)
    _report.write(
        given.name, figures, n=result["metrics"]["stage1"]["n_good"] + result["metrics"]["stage1"]["n_defect"]
    )
    strip([folder], _report.ROOT / "docs" / "images" / f"{given.name}.png")
    gain = figures["gain.image_auroc"]
    whole = not found.problems and all(stage in result["metrics"] for stage in STAGES)
    print(
        f"{'PASS' if whole else 'FAIL'}: {given.name}: {found.summary()}; image AUROC "
        f"{figures['stage1.image_auroc']['value']} -> {figures['stage2.image_auroc']['value']}, "
        f"gain {gain['value']} ({gain['low']} to {gain['high']})"
    )
    return 0 if whole else 1


def measure(folder: RunFolder, result: dict[str, Any]) -> dict[str, Any]:
    """Figures of both stages; intervals (95 %, over groups of photographs) where the scores give them."""
    figures: dict[str, Any] = {}
    for stage in STAGES:
        for name in SHOWN:
            if name in result["metrics"][stage]:
                value = round(result["metrics"][stage][name], 4)
                figures[f"{stage}.{name}"] = {"value": value, "unit": "1", "low": None, "high": None}
    before, after, labels, groups = _scores(folder)
    low, high = gain_interval(auroc, before, after, labels, groups)
    gain = auroc(after, labels) - auroc(before, labels)
    numbers = [round(float(number), 4) for number in (gain, low, high)]
    figures["gain.image_auroc"] = dict(zip(("value", "low", "high"), numbers, strict=True)) | {"unit": "1"}
    for name, count in result["counts"].items():
        figures[f"rows.{name}"] = {"value": count, "unit": "rows", "low": count, "high": count}
    for phase in folder.read_json("timing.json")["phases"]:
        seconds = phase["seconds"]
        figures[f"seconds.{phase['name']}"] = {"value": seconds, "unit": "s", "low": seconds, "high": seconds}
    return figures


def _scores(folder: RunFolder) -> tuple[Any, Any, Any, Any]:
    groups = {photo.photo_id: photo.group for photo in read_index(folder).test}
    tables = [folder.read_table(f"evaluation/{stage}/scores.parquet").sort_by("photo_id") for stage in STAGES]
    ids = tables[0]["photo_id"].to_pylist()
    before, after = (table["score"].to_numpy() for table in tables)
    return before, after, tables[0]["label"].to_numpy(), np.array([groups[name] for name in ids])


def strip(folders: Sequence[RunFolder], path: Path, each: int = 8, side: int = 112) -> None:
    """Write a strip: for each method, ``each`` kept images above the same with their label's outline."""
    import cv2

    rows: dict[str, list[np.ndarray]] = {}
    for table in chain.from_iterable(folder.kept(["method", "image_png", "label_png"]) for folder in folders):
        for row in table.to_pylist():
            columns = rows.setdefault(row["method"], [])
            if len(columns) >= each:
                continue
            image = decode_image(row["image_png"], "image")
            label = decode_image(row["label_png"], "label")[..., 0]
            outlined = image.copy()
            edges, _ = cv2.findContours((label > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(outlined, edges, -1, (255, 40, 40), 1)
            small = [cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA) for part in (image, outlined)]
            framed = [
                cv2.copyMakeBorder(part, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for part in small
            ]
            columns.append(np.concatenate(framed))
    path.parent.mkdir(parents=True, exist_ok=True)
    width = max(len(columns) for columns in rows.values())
    blank = np.full((2 * (side + 4), side + 4, 3), 255, np.uint8)
    lines = [np.concatenate(columns + [blank] * (width - len(columns)), axis=1) for _, columns in sorted(rows.items())]
    gap = np.full((12, lines[0].shape[1], 3), 255, np.uint8)
    path.write_bytes(encode_png(np.concatenate([part for line in lines for part in (line, gap)][:-1])))


if __name__ == "__main__":
    sys.exit(main())
