"""What goes wrong for one row, after the photographs were read: the row fails with its reason, all others stay."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from farm.config import FilterConfig
from farm.datasets import load_photos
from farm.diffusion.latents import finite_rows, to_pixels
from farm.errors import DataError
from farm.images import decode_image
from farm.methods import Made, Request
from farm.parts import to_parquet, to_table
from farm.rows import EMBEDDED, ENCODED, FACTS, PLANNED
from farm.run_folder import RunFolder
from farm.stages.generate import Generate
from farm.stages.judge import Judge
from farm.stages.made import bad_rows, check_made
from farm.stages.sources import Sources
from farm.stages.write import Write
from tests.photos import make_run, make_tree
from tests.stages import embeddings, first_rows, generating

PICTURES = ("source_png", "mask_png", "image_png", "label_png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "plates", train=6, test=1)


def make(made: Generate) -> dict[str, Any]:
    return first_rows(made, 8)


def hold_the_others(found: dict[str, Any], wanted: dict[str, Any], failed: Sequence[int], reason: str) -> None:
    """Rows ``failed`` have ``reason`` and no image; every other row has the very bytes of ``wanted``."""
    rows = range(len(wanted["row"]))
    assert [row for row in rows if found["status"][row] == "failed"] == list(failed)
    for row in rows:
        if row in failed:
            assert reason in found["error"][row]
            assert found["image_png"][row] == b""
        else:
            assert [found[name][row] for name in PICTURES] == [wanted[name][row] for name in PICTURES]


def vanish(path: Path) -> None:
    path.unlink()


def change(path: Path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (vanish, "is missing or not a regular file"),
        (change, "the file has changed since the photographs were loaded; put the old one back or start anew"),
        (truncate, "the file has changed since the photographs were loaded"),
    ],
)
def test_a_photograph_that_is_spoiled_after_it_was_indexed_fails_its_rows_alone(
    spoil: Callable[[Path], None], reason: str, root: Path, tmp_path: Path
) -> None:
    run = make_run(root, tmp_path / "run")
    wanted, later = make(generating(run)), generating(run)
    photo = later.plan.photos.train[0]
    spoil(Path(photo.path))
    failed = [row for row in range(8) if wanted["source_id"][row] == photo.photo_id]
    assert 0 < len(failed) < 8
    hold_the_others(make(later), wanted, failed, f"source: DataError: {photo.path}: {reason}")


def test_a_mask_that_vanishes_fails_the_rows_of_its_defect_alone(root: Path, tmp_path: Path) -> None:
    """Without it a row would get another mask than planned; rows of other defects never looked at it."""
    for name in ("test/scratch/000.png", "ground_truth/scratch/000_mask.png"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes((root / name.replace("scratch", "disc")).read_bytes() + b"\0")
    with (root / "few_shot.txt").open("a") as file:
        file.write("test/scratch/000.png\n")
    run = make_run(root, tmp_path / "run", methods=[{"kind": "translate", "masks": {"kinds": ["real"]}}])
    photos, everywhere = load_photos(run.data), np.ones((64, 64), bool)
    rows = {
        name: {"method": "translate", "mask_kind": "real", "defect": name, "seed": 1} for name in ("disc", "scratch")
    }
    wanted = Sources(run, photos).mask(rows["disc"], everywhere)
    (root / "ground_truth" / "scratch" / "000_mask.png").unlink()
    sources = Sources(run, photos)
    with pytest.raises(DataError, match=r"scratch/000_mask\.png: is missing or not a regular file"):
        sources.mask(rows["scratch"], everywhere)
    assert np.array_equal(sources.mask(rows["disc"], everywhere), wanted)


class Darken:
    """Halves the pixels in the mask; raises for the seeds it is told to."""

    needs_trajectory = False

    def __init__(self, raises: frozenset[int] = frozenset()) -> None:
        self.raises = raises

    def __call__(self, request: Request) -> Made:
        if self.raises & set(request.seed.tolist()):
            raise ValueError("cannot convert float NaN to integer")
        count = len(request.seed)
        return Made(
            image=np.where(request.mask[..., None] > 0, request.source // 2, request.source),
            label=request.mask.copy(),
            evaluations=np.full(count, 7, np.int32),
            background_error=np.zeros(count, np.float32),
            objection=("",) * count,
            error=("",) * count,
        )


def test_a_model_that_raises_for_one_row_fails_that_row_alone(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path / "run")
    made = generating(run, Darken())
    bad = made.plan.row(2)["seed"]
    found = make(generating(run, Darken(frozenset({bad}))))
    hold_the_others(found, make(made), [2], "rules: ValueError: cannot convert")


def request(count: int = 3) -> Request:
    source = np.full((count, 16, 16, 3), 100, np.uint8)
    mask = np.zeros((count, 16, 16), np.uint8)
    mask[:, 4:8, 4:8] = 1
    texts = ("",) * count
    return Request(source, mask, np.arange(count, dtype=np.int64), texts, texts, texts)


def test_what_a_good_method_gives_is_good() -> None:
    made = Darken()(request())
    check_made(made, request())
    assert bad_rows(made) == ["", "", ""]
    check_made(replace(made, reference=made.image), request())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"image": np.full((3, 16, 16, 3), np.nan, np.float32)},
            r"image as float32 .*; it must be uint8 \(3, 16, 16, 3\)",
        ),
        (
            {"image": np.zeros((3, 8, 8, 3), np.uint8)},
            r"image as uint8 \(3, 8, 8, 3\); it must be uint8 \(3, 16, 16, 3\)",
        ),
        ({"image": np.zeros((2, 16, 16, 3), np.uint8)}, r"image as uint8 \(2, 16, 16, 3\); it must be"),
        ({"image": np.zeros((3, 3, 16, 16), np.uint8)}, r"image as uint8 \(3, 3, 16, 16\); it must be"),
        ({"image": None}, "image as NoneType; it must be"),
        ({"label": np.zeros((3, 16, 16), bool)}, r"label as bool \(3, 16, 16\); it must be uint8 \(3, 16, 16\)"),
        ({"label": np.zeros((3, 16, 16, 1), np.uint8)}, r"label as uint8 \(3, 16, 16, 1\); it must be"),
        ({"evaluations": np.zeros(1, np.int32)}, r"evaluations as int32 \(1,\); it must be int32 \(3,\)"),
        ({"evaluations": np.zeros(3)}, r"evaluations as float64 \(3,\); it must be int32"),
        ({"background_error": np.zeros((3, 1), np.float32)}, r"background_error as float32 \(3, 1\); it must be"),
        ({"reference": np.zeros((3, 16, 16), np.uint8)}, r"reference as uint8 \(3, 16, 16\); it must be"),
        ({"objection": ("",)}, r"objection of 1 values \(str\); it must be 3 texts"),
        ({"error": ("", None, "")}, r"error of 3 values \(NoneType, str\); it must be 3 texts"),
    ],
)
def test_a_method_that_breaks_its_contract_is_told_what_it_gave(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=f"the method gave {text}"):
        check_made(replace(Darken()(request()), **changes), request())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_fails_its_row_alone(value: float) -> None:
    made = Darken()(request())
    made.background_error[1] = value
    assert bad_rows(made) == ["", f"the method gave background_error {value}; its pixels cannot be trusted", ""]


def test_labels_and_counts_that_cannot_be_fail_their_rows_alone() -> None:
    made = Darken()(request())
    made.label[0, 4, 4] = 255
    made.evaluations[2] = -1
    first, second, third = bad_rows(made)
    assert first == "the method gave a label with values up to 255; it must be 1 where the defect shows and 0 elsewhere"
    assert (second, third) == ("", "the method gave -1 evaluations; they must be 0 or more")
    assert bad_rows(replace(made, error=("no weights", "", "no weights"))) == ["", "", ""]  # said so itself


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_floats_are_asked_before_they_become_pixels(value: float) -> None:
    """A NaN would be a grey pixel, and no one could tell: so a method asks, and the row fails."""
    images, latents = torch.zeros(3, 3, 4, 4), torch.zeros(3, 2, 2, 2)
    images[1, 0, 0, 0] = value
    assert finite_rows(images).tolist() == [True, False, True]
    latents[2, 1, 1, 1] = value
    assert finite_rows(images, latents).tolist() == [True, False, False]
    assert to_pixels(images).dtype == np.uint8


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_no_number_is_refused_and_its_neighbours_are_judged_as_ever(value: float) -> None:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(12, 8)).astype(np.float32) * 0.1 + 1
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    judge = Judge(FilterConfig(), ([str(number) for number in range(12)], normals))
    batch = judged_rows(normals[:4].copy())
    wanted = judge.judge(batch)
    broken = {**batch, "embedding": batch["embedding"].copy()}
    broken["embedding"][2, 3] = value
    found = judge.judge(broken)
    assert wanted["verdict"].tolist() == ["kept"] * 4
    assert found["verdict"].tolist() == ["kept", "kept", "refused", "kept"]
    assert found["reason"][2] == "irrelevant"
    assert found["score"][[0, 1, 3]].tobytes() == wanted["score"][[0, 1, 3]].tobytes()


def judged_rows(vectors: np.ndarray) -> dict[str, Any]:
    """Rows that every gate lets pass, with these vectors."""
    count = len(vectors)
    facts = {"mean_change": 5.0, "changed_area": 0.05, "ssim_outside": 1.0, "background_error": 0.0}
    texts = {"status": "made", "kind": "defect"}
    batch: dict[str, Any] = {**embeddings(count), "embedding": vectors}
    for column in (*PLANNED, *FACTS):
        if column.dtype == "str":
            batch[column.name] = np.array([texts.get(column.name, "")] * count, object)
        else:
            batch[column.name] = np.full(count, facts.get(column.name, 0), column.dtype)
    batch["row"] = np.arange(count)
    return batch


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_changes_no_byte(
    jump: float, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(root, tmp_path / "run")

    def part(name: str) -> tuple[bytes, dict[str, Any]]:
        made, folder = generating(run), RunFolder(str(tmp_path / name))
        batch, costs = made.shard(0)
        batch |= embeddings(4)
        Write(folder, made.plan).commit(0, batch, {"by_method": costs})
        assert to_parquet(folder.read_shard(0)) == to_parquet(to_table(batch, ENCODED))
        return folder.store.read("candidates/shard-000000/part.parquet"), folder.done(0)

    before, marker = part("calm")
    now, turn = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: now() + jump * (next(turn) % 2))
    monkeypatch.setattr(time, "time_ns", lambda: int(now() * 1e9) * (next(turn) % 2))
    after, jumped = part("jumping")
    assert after == before
    assert jumped["sha256"] == marker["sha256"]
    assert jumped["costs"]["by_method"]["rules"]["seconds"] >= 0  # of a clock that nobody sets


def test_every_made_row_has_pictures_of_the_same_size_whatever_its_photograph_had(root: Path, tmp_path: Path) -> None:
    sizes = [(1, 1), (1, 3000), (3000, 1), (64, 63), (500, 500), (2, 2)]
    for number, (height, width) in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "train" / "good" / f"{number:03d}.png")
    batch = first_rows(generating(make_run(root, tmp_path / "run")), 16)
    assert set(batch["status"]) == {"made"}
    assert len(set(batch["source_id"])) == len(sizes)
    assert {decode_image(png, "x").shape for png in batch["image_png"]} == {(64, 64, 3)}


def test_the_columns_of_a_failed_row_are_those_of_any_row(root: Path, tmp_path: Path) -> None:
    made = generating(make_run(root, tmp_path / "run"), Darken(frozenset({-1})))
    Path(made.plan.photos.train[0].path).unlink()
    batch = make(made)
    batch |= embeddings(8)
    assert {"failed", "made"} == set(batch["status"])
    table = to_table(batch, ENCODED)
    assert table.column_names == [column.name for column in ENCODED]
    assert EMBEDDED[-1].name in table.column_names
