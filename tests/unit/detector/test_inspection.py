"""Photographs in a folder → scores.csv and heat maps: bad ones have a reason, names stay inside, memory stays flat."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from farm.detector.inspection import COLUMNS, Inspector, find_images, laid_on, picture_name
from farm.errors import DataError, StoreError
from jobs.predict import command
from tests.detectors import make_detector
from tests.photos import make_tree

SIZE = 32


def darkness(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps = 1 - images.mean(axis=-1, dtype=np.float32) / 255
    return maps, maps.reshape(len(maps), -1).mean(axis=1)


def save(path: Path, grey: int, size: tuple[int, int] = (48, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey,) * 3).save(path)
    return path


def read(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_bad_photograph_has_a_reason_and_the_others_go_on(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{grey}.png", grey) for grey in (0, 51, 204, 255)]
    paths.insert(1, tmp_path / "absent.png")
    paths.insert(3, tmp_path / "text.png")
    paths[3].write_text("no picture")
    counts = Inspector(darkness, SIZE, threshold=0.8, batch_size=2).inspect(paths, tmp_path / "out")
    rows = read(tmp_path / "out")
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert [row["score"] for row in rows] == ["1.000000", "", "0.800000", "", "0.200000", "0.000000"]
    assert [row["verdict"] for row in rows] == ["defective", "", "defective", "", "good", "good"]
    assert "absent.png: is missing or not a regular file" in rows[1]["reason"]
    assert "text.png: is not a picture that can be read" in rows[3]["reason"]
    assert counts == {"scored": 4, "refused": 2, "defective": 2, "good": 2}
    assert tuple(rows[0]) == COLUMNS
    pictures = {row[name] for row in rows for name in ("overlay", "map")} - {""}
    assert {path.name for path in (tmp_path / "out").iterdir()} == pictures | {"scores.csv"}


def test_the_map_keeps_16_bits_and_the_overlay_the_photographs_shape(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(ramp[None, :, None], (2000, 64, 3)).copy()).save(tmp_path / "tall.png")
    Inspector(lambda images: (darkness(images)[0] / 3, darkness(images)[1]), SIZE).inspect(
        [tmp_path / "tall.png"], tmp_path / "out"
    )
    (row,) = read(tmp_path / "out")
    assert row["verdict"] == ""
    with Image.open(tmp_path / "out" / row["map"]) as found:
        values = np.asarray(found)
    assert values.shape == (SIZE, SIZE)
    assert values.dtype == np.uint16
    assert values[0, 0] == pytest.approx(65535 / 3 * (1 - 2 / 255), abs=300)
    assert len(np.unique(values)) == SIZE
    with Image.open(tmp_path / "out" / row["overlay"]) as shown:
        assert shown.size == (33, 1024)


def test_no_name_leaves_the_folder_or_meets_another(tmp_path: Path) -> None:
    paths = [
        Path("a/x.png"),
        Path("b/x.png"),
        Path("a/x.jpg"),
        Path("../../x.png"),
        Path("a/..png"),
        Path("ä/" + "é" * 90),
    ]
    names = [picture_name(path) for path in paths]
    assert len(set(names)) == len(names)
    assert names == [picture_name(path) for path in paths]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for name in names)
    assert max(map(len, names)) < 64
    save(tmp_path / "..dots.png", 9)
    Inspector(darkness, SIZE).inspect([tmp_path / "..dots.png"], tmp_path / "out")
    assert {path.parent for path in tmp_path.rglob("*.overlay.png")} == {tmp_path / "out"}


def test_folders_patterns_and_files_are_found_once_in_natural_order(tmp_path: Path) -> None:
    for name in ("p10.png", "p9.png", "deep/q.png", ".hidden.png", "Thumbs.db", "out/p9.overlay.png"):
        save(tmp_path / "in" / name, 1) if name.endswith("png") else (tmp_path / "in" / name).write_bytes(b"")
    root, out = tmp_path / "in", tmp_path / "in" / "out"
    below = [path.relative_to(root).as_posix() for path in find_images([str(root)], out)]
    assert below == ["p9.png", "p10.png", "deep/q.png"]
    assert find_images([str(root / "p9.png"), str(root / "*.png")], out) == [root / "p9.png", root / "p10.png"]
    assert find_images([str(root / "absent.png")], out) == [root / "absent.png"]
    with pytest.raises(DataError, match=r"\*\.tif: no file is there; give photographs, folders or patterns"):
        find_images([str(root / "*.tif")], out)


def test_only_a_batch_is_held_at_a_time(tmp_path: Path) -> None:
    sizes: list[int] = []

    def detect(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(images))
        assert len(list((tmp_path / "out").glob("*.map.png"))) == 2 * (len(sizes) - 1)
        return darkness(images)

    paths = [save(tmp_path / f"{grey}.png", grey) for grey in range(5)]
    Inspector(detect, SIZE, batch_size=2).inspect(paths, tmp_path / "out")
    assert sizes == [2, 2, 1]


def test_a_score_that_is_no_number_is_no_verdict(tmp_path: Path) -> None:
    def broken(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return darkness(images)[0], np.full(len(images), np.nan, np.float32)

    counts = Inspector(broken, SIZE, threshold=0.5).inspect([save(tmp_path / "a.png", 3)], tmp_path / "out")
    assert counts == {"refused": 1}
    assert "not numbers" in read(tmp_path / "out")[0]["reason"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match=r"out: cannot be written .*give --out another folder"):
        Inspector(darkness, SIZE).inspect([save(tmp_path / "a.png", 3)], tmp_path / "out")


def test_where_the_map_is_0_the_photograph_is_untouched() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    values = np.zeros((10, 10), np.float32)
    assert np.array_equal(laid_on(picture, values), picture)
    values[:, 6:] = 1.0
    found = laid_on(picture, values)
    assert np.array_equal(found[:, :15], picture[:, :15])
    assert (found[:, 22:] != picture[:, 22:]).any(axis=2).all()


def test_farm_predict_tells_counts_and_its_exit_code_what_was_not_read(tmp_path: Path) -> None:
    tree, model = make_tree(tmp_path / "plates"), make_detector(tmp_path / "detector", threshold=0.0)
    arguments = [str(model), str(tree / "test" / "good"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert "4 photographs: 4 scored (0 good, 4 defective), 0 not read" in done.output
    again = (tmp_path / "out" / "scores.csv").read_bytes()
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert (tmp_path / "out" / "scores.csv").read_bytes() == again
    done = CliRunner().invoke(command, [str(model), str(tree), "--out", str(tmp_path / "all")])
    assert done.exit_code == 1
    assert "1 not read" in done.output  # few_shot.txt
