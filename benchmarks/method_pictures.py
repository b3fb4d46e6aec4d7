"""A picture of each method for the README: what it made of ball screws.

python benchmarks/method_pictures.py --data FOLDER      FOLDER is bsdata_pitting/

``rules``, ``background_aware`` and ``adabldm`` are taken from runs/bsdata_methods, ``dual`` from runs/bsdata_dual
(benchmarks/methods.py bsdata makes both); ``translate`` and ``variational`` are made here, eight rows each, with no
fit. The first kept rows in row order, chosen by nobody; the label's outline in the lower half, none under a generated
normal. Writes docs/images/method_<kind>.png.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks._ball_screws import ball_screws
from farm.images import decode_image, encode_png
from farm.run_folder import RunFolder
from tests.loop import run_in_a_loop

EACH, SIDE, MADE_HERE = 4, 112, 8
MASKS = {"kinds": ["real"], "min_area": 0.0005, "max_area": 0.05}
ARMS: dict[str, dict[str, Any]] = {
    "translate": {
        "kind": "translate",
        "engine": "inpaint",
        "steps": 20,
        "guidance": 5.0,
        "strength": 0.7,
        "masks": MASKS,
    },
    "variational": {
        "kind": "variational",
        "keyword": "ball screw",
        "candidates": 2,
        "iterations": 12,
        "cutouts": 2,
        "score_every": 4,
        "centre": "source",
        "noise": "joint",
        "sigma": 0.5,
        "detail": True,
        "flips": [],
    },
}
FROM = {
    "rules": ("bsdata_methods", "copy_paste"),
    "background_aware": ("bsdata_methods", "background_aware"),
    "adabldm": ("bsdata_methods", "adabldm"),
    "dual": ("bsdata_dual", "dual"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=[*FROM, *ARMS], default=[*FROM, *ARMS])
    given = parser.parse_args()
    for kind in given.only:
        if kind in FROM:
            name, arm = FROM[kind]
            rows = first_kept(RunFolder(str(_report.ROOT / "runs" / name)), arm)
        else:
            with tempfile.TemporaryDirectory() as folder:
                rows = first_kept(made_here(given.data, Path(folder) / "run", kind), kind)
        path = _report.ROOT / "docs" / "images" / f"method_{kind}.png"
        path.write_bytes(encode_png(picture(rows)))
        print(f"{kind}: {len(rows)} images in {path.relative_to(_report.ROOT)}", flush=True)
    return 0


def made_here(data: Path, output: Path, kind: str) -> RunFolder:
    """A judged run of one arm, in this process."""
    where, rows = "benchmarks/method_pictures.py", MADE_HERE
    run = ball_screws(where, data, output, rows, [ARMS[kind]], cluster={"shard_rows": rows})
    run_in_a_loop(run)
    return RunFolder(run.output)


def first_kept(folder: RunFolder, arm: str) -> list[dict[str, Any]]:
    """The first kept rows of an arm, in row order."""
    rows: list[dict[str, Any]] = []
    for table in folder.kept(["method", "image_png", "label_png", "sample_id"]):
        rows += [row for row in table.to_pylist() if row["method"] == arm]
        if len(rows) >= EACH:
            break
    return rows[:EACH]


def picture(rows: list[dict[str, Any]]) -> np.ndarray:
    """The images side by side, above the same with their label's outline."""
    columns = []
    for row in rows:
        image = decode_image(row["image_png"], row["sample_id"])
        label = decode_image(row["label_png"], row["sample_id"])[..., 0]
        outlined = image.copy()
        edges, _ = cv2.findContours((label > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(outlined, edges, -1, (255, 40, 40), 1)
        small = [cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for part in (image, outlined)]
        columns.append(np.concatenate(small if label.any() else small[:1]))
    return np.concatenate(columns, axis=1)


if __name__ == "__main__":
    sys.exit(main())
