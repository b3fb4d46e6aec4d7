"""Runs made by an earlier version go on: photographs keep their fingerprint, and its index can be read."""

from pathlib import Path

import pytest

from farm.config import DataConfig
from farm.datasets import PhotoSet, load_photos
from farm.parts import from_parquet, to_parquet
from farm.run_folder import RunFolder
from farm.source_index import NAME, read_index, write_index


def save_grey(path: Path, level: int) -> None:
    """A picture of 4 x 4 px whose bytes no library decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6 4 4 255\n" + bytes([level]) * 48)


def save_bar(path: Path) -> None:
    """A mask of 4 x 4 px, its first row marked, whose bytes no library decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P5 4 4 255\n" + b"\xff" * 4 + bytes(12))


def mvtec(root: Path) -> None:
    for level, name in enumerate(("train/good/000", "test/good/000", "test/crack/000", "test/crack/001"), 1):
        save_grey(root / f"{name}.png", level)
    for number in range(2):
        save_bar(root / "ground_truth" / "crack" / f"{number:03d}_mask.png")


def folder(root: Path) -> None:
    for level, name in enumerate(("good/0", "good/1", "dent/0"), 1):
        save_grey(root / f"{name}.png", level)
    save_bar(root / "masks" / "dent" / "0.png")


def textile(root: Path) -> None:
    for level, name in enumerate(("nominal/textile_0001", "local/textile_0001", "local/textile_0002"), 1):
        save_grey(root / f"{name}.jpg", level)


def load(root: Path, kind: str) -> PhotoSet:
    {"mvtec": mvtec, "folder": folder, "textile": textile}[kind](root)
    settings = {"kind": kind, "root": str(root), "category": "plate", "few_shot": "third"}
    return load_photos(DataConfig.model_validate(settings))


@pytest.mark.parametrize(
    ("kind", "fingerprint"),
    [("mvtec", "a95dc0340d3ad99f"), ("folder", "d445ad11ab47e331"), ("textile", "ff0f51537701f1b9")],
)
def test_a_fingerprint_is_what_it_was(kind: str, fingerprint: str, tmp_path: Path) -> None:
    assert load(tmp_path, kind).fingerprint == fingerprint


def test_a_photograph_is_named_as_it_was(tmp_path: Path) -> None:
    shot = load(tmp_path, "mvtec").shots[0]
    assert shot.photo_id == "610660a4d8499290"
    assert shot.mask_sha256 == "012a82b1a1e8fbd7a17132cac8f63905f7a4dd003634c91c88c8a6fea7d8454d"


def test_an_index_from_before_there_were_channels_is_read(tmp_path: Path) -> None:
    photos, folder = load(tmp_path / "plate", "mvtec"), RunFolder(str(tmp_path / "run"))
    write_index(folder, photos)
    folder.store.write(NAME, to_parquet(from_parquet(folder.store.read(NAME)).drop_columns("channels")))
    assert read_index(folder) == photos
