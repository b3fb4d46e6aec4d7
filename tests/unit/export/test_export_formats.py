"""Each format read back: by the library it is for where that is installed, and by its own rules."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from farm.config import DataConfig
from farm.datasets import load_photos, read_mask
from farm.export import FORMATS, export_run
from farm.export.coco import run_lengths
from farm.export.yolo import polygons
from farm.images import decode_image, decode_mask
from farm.run_folder import RunFolder
from tests.exports import SIDE, image, is_normal, label, outcome

KEPT = [row for row in range(24) if outcome(row) == "kept"]
MADE = [row for row in range(24) if outcome(row) != "failed"]
DEFECTS = [row for row in KEPT if not is_normal(row)]
MIB = 2**20


def ids(folder: RunFolder, rows: list[int]) -> list[str]:
    every = folder.verdicts()["sample_id"].to_pylist()
    return [every[row] for row in rows]


def foreign(library: str, code: str, *arguments: str | Path) -> Any:
    """What ``code`` prints as JSON, run with ``library`` in a process of its own, without a network."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed; it is in the extra 'dev'")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def sha(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels, np.uint8).tobytes()).hexdigest()


def rle_pixels(counts: list[int], size: list[int]) -> np.ndarray:
    """COCO's own decoding: runs of 0 and 1 in turn, down the columns."""
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    return flat.reshape(size, order="F")


def test_the_mvtec_tree_is_read_by_our_own_reader(judged: RunFolder, out: Path) -> None:
    done = export_run(judged, FORMATS["mvtec"], str(out), with_sources=True)
    config = DataConfig(kind="mvtec", root=str(out / "plate"), category="plate", few_shot="none")
    photos = load_photos(config)
    assert photos.refused == ()
    assert len(photos.train) == len(KEPT) - len(DEFECTS) + 12
    assert {Path(photo.path).stem for photo in photos.test} == set(ids(judged, DEFECTS))
    rows = dict(zip(ids(judged, DEFECTS), DEFECTS, strict=True))
    for photo in photos.test:
        row = rows[Path(photo.path).stem]
        np.testing.assert_array_equal(read_mask(photo, SIDE), label(row))
        np.testing.assert_array_equal(decode_image(Path(photo.path).read_bytes(), "x"), image(row))
    assert done["labels"]["good"] == len(photos.train)


def test_normals_never_lie_among_defects_and_test_photographs_nowhere(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["mvtec"], str(out), with_sources=True)
    normals = set(ids(judged, [row for row in KEPT if is_normal(row)]))
    assert {path.stem for path in out.rglob("*.png") if path.stem in normals} == normals
    assert {path.parent.parent.name for path in out.rglob("*.png") if path.stem in normals} == {"train"}
    pixels = {sha(decode_image(path.read_bytes(), "x")) for path in out.rglob("*.png") if "_mask" not in path.name}
    root = Path(judged.run().data.root or "")
    real = {split: {sha(decode_image(path.read_bytes(), "x")) for path in root.glob(split)} for split in SPLITS}
    assert real["train/good/*"] <= pixels
    assert not (real["test/*/*"] - real["train/good/*"]) & pixels


SPLITS = ("train/good/*", "test/*/*")


def test_photographs_stay_where_they_are_unless_asked_for(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["mvtec"], str(out))
    assert len(list((out / "plate" / "train" / "good").glob("*.png"))) == len(KEPT) - len(DEFECTS)


def test_anomalib_reads_the_mvtec_tree(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["mvtec"], str(out), with_sources=True)
    code = """
import json, sys
from pathlib import Path
from anomalib.data import Folder, MVTecAD
root, defects = sys.argv[1], sys.argv[2].split(",")
common = {"train_batch_size": 2, "eval_batch_size": 2, "num_workers": 0, "val_split_mode": "same_as_test"}
tree = MVTecAD(root=root, category="plate", **common)
folder = Folder(name="plate", root=f"{root}/plate", normal_dir="train/good", normal_split_ratio=0.0,
                abnormal_dir=[f"test/{name}" for name in defects],
                mask_dir=[f"ground_truth/{name}" for name in defects],
                test_split_mode="from_dir", **common)
found = {}
for name, module in (("tree", tree), ("folder", folder)):
    module.setup()
    test = [module.test_data[number] for number in range(len(module.test_data))]
    marked = {Path(item.image_path).stem: int(item.gt_mask.sum()) for item in test if int(item.gt_label)}
    found[name] = {"normals": len(module.train_data) + len(test) - len(marked), "marked": marked}
print(json.dumps(found))
"""
    names = sorted(path.name for path in (out / "plate" / "ground_truth").iterdir())
    found = foreign("anomalib", code, out, ",".join(names))
    areas = dict(zip(ids(judged, DEFECTS), [int(label(row).sum()) for row in DEFECTS], strict=True))
    normals = len(KEPT) - len(DEFECTS) + 12  # where test/good is empty, anomalib takes some of train/good for it
    assert found["tree"] == {"normals": normals, "marked": areas}
    assert found["folder"] == {"normals": normals, "marked": areas}


def test_tars_are_bounded_sorted_and_without_time_or_owner(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["webdataset"], str(out), everything=True, shard_bytes=60_000)
    tars = sorted(out.glob("*.tar"))
    assert [path.name for path in tars] == [f"shard-{number:06d}.tar" for number in range(len(tars))]
    assert len(tars) > 2
    members = []
    for path in tars:
        assert path.stat().st_size <= 60_000
        with tarfile.open(path) as tar:
            members += [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one, _ in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    wanted = [f"{name}.{end}" for name in ids(judged, MADE) for end in ("image.png", "json", "mask.png")]
    assert [one.name for one, _ in members] == wanted
    told = [json.loads(data) for one, data in members if one.name.endswith("json")]
    assert [one["verdict"] for one in told] == [outcome(row) for row in MADE]
    assert {one["reason"] for one in told} == {"", "unchanged"}
    assert told[0]["score"] is None


def test_a_picture_larger_than_a_tar_has_one_of_its_own(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["webdataset"], str(out), shard_bytes=1)
    assert len(list(out.glob("*.tar"))) == len(KEPT)


def test_webdataset_reads_the_tars(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["webdataset"], str(out), shard_bytes=60_000)
    code = """
import glob, hashlib, json, sys
import numpy as np, webdataset as wds
tars = sorted(glob.glob(sys.argv[1] + "/shard-*.tar"))
read = wds.WebDataset(tars, shardshuffle=False).decode("rgb8").to_tuple("__key__", "image.png", "mask.png", "json")
print(json.dumps([(key, hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest(),
                   int((mask[..., 0] > 0).sum()), told["label"]) for key, image, mask, told in read]))
"""
    found = foreign("webdataset", code, out)
    assert [one[0] for one in found] == ids(judged, KEPT)
    assert [one[1] for one in found] == [sha(image(row)) for row in KEPT]
    assert [one[2] for one in found] == [int(label(row).sum()) for row in KEPT]
    assert [one[3] == "good" for one in found] == [is_normal(row) for row in KEPT]


def test_parquet_holds_pictures_masks_labels_and_verdicts(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["huggingface"], str(out), everything=True, shard_bytes=20_000)
    files = sorted(out.glob("data/*.parquet"))
    assert [path.name for path in files] == [f"train-{number:05d}.parquet" for number in range(len(files))]
    assert len(files) > 2
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert [row["sample_id"] for row in rows] == ids(judged, MADE)
    assert [row["verdict"] for row in rows] == [outcome(row) for row in MADE]
    for row, number in zip(rows, MADE, strict=True):
        np.testing.assert_array_equal(decode_mask(row["mask"]["bytes"], "x"), label(number))
        assert (row["label"] == 0) == is_normal(number)


def test_load_dataset_shows_images_masks_and_labels(judged: RunFolder, out: Path, tmp_path: Path) -> None:
    export_run(judged, FORMATS["huggingface"], str(out), shard_bytes=20_000)
    code = """
import hashlib, json, sys
import numpy as np
from datasets import load_dataset
read = load_dataset(sys.argv[1], split="train", cache_dir=sys.argv[2])
names = read.features["label"].names
types = [type(read.features[name]).__name__ for name in ("image", "mask", "label")]
rows = [(row["sample_id"], hashlib.sha256(np.asarray(row["image"].convert("RGB")).tobytes()).hexdigest(),
         int((np.asarray(row["mask"]) > 0).sum()), names[row["label"]], row["defect"]) for row in read]
print(json.dumps({"types": types, "rows": rows}))
"""
    found = foreign("datasets", code, out, tmp_path / "cache")
    assert found["types"] == ["Image", "Image", "ClassLabel"]
    assert [row[0] for row in found["rows"]] == ids(judged, KEPT)
    assert [row[1] for row in found["rows"]] == [sha(image(row)) for row in KEPT]
    assert [row[2] for row in found["rows"]] == [int(label(row).sum()) for row in KEPT]
    assert all(row[3] == row[4] for row in found["rows"])


@pytest.mark.parametrize("pixels", ["empty", "full", "corner", "ring", "noise"])
def test_run_lengths_give_the_mask_again(pixels: str) -> None:
    mask = np.zeros((7, 5), np.uint8)
    if pixels == "full":
        mask[:] = 1
    elif pixels == "corner":
        mask[0, 0] = 1
    elif pixels == "ring":
        mask[1:6, 1:4] = 1
        mask[3, 2] = 0
    elif pixels == "noise":
        mask = np.random.default_rng(0).integers(0, 2, (7, 5)).astype(np.uint8)
    counts = run_lengths(mask)
    assert sum(counts) == mask.size
    np.testing.assert_array_equal(rle_pixels(counts, [7, 5]), mask)


def test_coco_has_one_instance_a_defect_with_its_holes(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["coco"], str(out))
    told = json.loads((out / "labels.json").read_text())
    assert [one["file_name"] for one in told["images"]] == [f"{name}.png" for name in ids(judged, KEPT)]
    assert {path.name for path in (out / "data").iterdir()} == {one["file_name"] for one in told["images"]}
    names = {one["id"]: one["name"] for one in told["categories"]}
    images = {one["id"]: one for one in told["images"]}
    assert sorted(images[one["image_id"]]["row"] for one in told["annotations"]) == DEFECTS
    for one in told["annotations"]:
        row = images[one["image_id"]]["row"]
        np.testing.assert_array_equal(rle_pixels(**one["segmentation"]), label(row))
        ys, xs = np.nonzero(label(row))
        assert one["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert one["area"] == label(row).sum()
        assert names[one["category_id"]] == images[one["image_id"]]["defect"]


def test_pycocotools_decodes_the_masks(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["coco"], str(out), everything=True)
    code = """
import hashlib, json, sys
from pycocotools.coco import COCO
read = COCO(sys.argv[1] + "/labels.json")
found = {read.imgs[one["image_id"]]["row"]: hashlib.sha256(read.annToMask(one).tobytes()).hexdigest()
         for one in read.loadAnns(read.getAnnIds())}
print(json.dumps(found))
"""
    found = foreign("pycocotools", code, out)
    assert found == {str(row): sha(label(row)) for row in MADE if not is_normal(row)}


def test_yolo_polygons_paint_the_mask_but_for_its_holes(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["yolo"], str(out))
    told = yaml.safe_load((out / "data.yaml").read_text())
    assert "good" not in told["names"].values()
    for name, row in zip(ids(judged, KEPT), KEPT, strict=True):
        assert (out / "images" / "train" / f"{name}.png").is_file()
        lines = (out / "labels" / "train" / f"{name}.txt").read_text().splitlines()
        assert (lines == []) == is_normal(row)
        painted = np.zeros((SIDE, SIDE), np.uint8)
        for line in lines:
            number, *values = line.split()
            assert int(number) in told["names"]
            points = np.array(values, np.float64).reshape(-1, 2)
            assert len(points) >= 3
            assert ((points > 0) & (points < 1)).all()
            cv2.fillPoly(painted, [(points * SIDE).astype(np.int32)], 1)  # as Ultralytics paints it
        np.testing.assert_array_equal(painted, filled(label(row)))


def filled(mask: np.ndarray) -> np.ndarray:
    """``mask`` without holes: 0 only where the ground is joined to the border."""
    around = np.pad(1 - mask, 1, constant_values=1).astype(np.uint8)
    cv2.floodFill(around, None, (0, 0), 2)
    return (around[1:-1, 1:-1] != 2).astype(np.uint8)


def test_a_point_and_a_line_are_polygons_with_an_area() -> None:
    for marked in ([(3, 4)], [(3, 4), (3, 5), (3, 6)], [(3, 4), (4, 5)], [(5, 4), (4, 5)]):
        mask = np.zeros((10, 10), np.uint8)
        for place in marked:
            mask[place] = 1
        points = polygons(mask)[0].astype(np.float32)
        assert cv2.contourArea(points) > 0
