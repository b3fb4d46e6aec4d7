"""Training images: normal, rule-based and generated ones, each a function of its own draw."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from farm.config import Run
from farm.datasets import load_photos
from farm.detector.feed import Feed
from farm.detector.materials import KEPT_COLUMNS, Kept, Materials, kept_defects, read_materials
from farm.detector.two_stage import Draws, stage_batch
from farm.errors import DataError
from farm.methods.base import Made
from tests.photos import make_run, make_tree


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(make_tree(tmp_path / "plates"), tmp_path / "run", methods=[{"kind": "rules", "recipes": ["noise"]}])


@pytest.fixture
def materials(run: Run) -> Materials:
    return read_materials(run, load_photos(run.data))


def png(value: int, channels: int) -> bytes:
    sink = io.BytesIO()
    pixels = np.full((64, 64, 3) if channels == 3 else (64, 64), value, np.uint8)
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def kept(counts: list[int]) -> Kept:
    """Groups of one grey each: 10, 20, ..."""
    places = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
    greys = np.repeat([10 * (group + 1) for group in range(len(counts))], counts)
    return Kept(
        pa.chunked_array([pa.array([png(int(grey), 3) for grey in greys])]),
        pa.chunked_array([pa.array([png(255, 1)] * sum(counts))]),
        tuple(places),
    )


def reconstructing(run: Run) -> Run:
    detector = run.train.detector.model_copy(update={"kind": "draem"})
    return run.model_copy(update={"train": run.train.model_copy(update={"detector": detector})})


def draws(kind: str, count: int) -> Draws:
    return Draws((kind,) * count, np.arange(count, dtype=np.int64) + 100)


def test_normals_are_the_photographs_and_have_no_label(run: Run, materials: Materials) -> None:
    image, label, _ = Feed(run, materials)(draws("normal", 12))
    assert not label.any()
    turned = [turn for plate in materials.normals for turn in (plate, plate[::-1], plate[:, ::-1], plate[::-1, ::-1])]
    assert all(any(np.array_equal(one, turn) for turn in turned) for one in image)
    assert len({one.tobytes() for one in image}) > 4


def test_rule_images_differ_from_a_normal_inside_their_label_alone(run: Run, materials: Materials) -> None:
    image, label, _ = Feed(run, materials)(draws("rules", 8))
    assert label.any(axis=(1, 2)).all()
    assert set(np.unique(label)) == {0, 1}
    turned = [turn for plate in materials.normals for turn in (plate, plate[::-1], plate[:, ::-1], plate[::-1, ::-1])]
    for one, mask in zip(image, label, strict=True):
        assert any(np.array_equal(one[mask == 0], turn[mask == 0]) for turn in turned)
        assert not any(np.array_equal(one, turn) for turn in turned)


def test_a_row_depends_on_its_own_draw_alone(run: Run, materials: Materials) -> None:
    feed, other = Feed(run, materials), Feed(run, materials)
    whole = stage_batch(run.train, "stage1", 5, range(16))
    image, label, _ = feed(whole)
    for slot in (0, 1, 15):
        alone = other(stage_batch(run.train, "stage1", 5, [slot]))
        assert np.array_equal(alone[0][0], image[slot])
        assert np.array_equal(alone[1][0], label[slot])


def test_generated_images_are_balanced_by_group_not_by_count(run: Run, materials: Materials) -> None:
    feed = Feed(run, Materials(materials.normals, (), kept([1, 20])))
    image, label, _ = feed(draws("generated", 60))
    assert label.all()
    greys = image[:, 0, 0, 0].tolist()
    assert set(greys) == {10, 20}
    assert 20 <= greys.count(10) <= 40


def test_a_rule_that_never_shows_leaves_a_normal(run: Run, materials: Materials) -> None:
    feed = Feed(run, materials)
    asked: list[int] = []

    def invisible(request: object) -> Made:
        count = len(request.seed)
        asked.extend(request.seed.tolist())
        zero = np.zeros(count)
        label = np.zeros_like(request.mask)
        return Made(request.source, label, zero.astype(np.int32), zero.astype(np.float32), ("",) * count, ("",) * count)

    feed._rules = invisible
    label = feed(draws("rules", 3)).label
    assert not label.any()
    assert len(asked) == len(set(asked)) == 12


def test_no_normals_is_an_error_that_says_where(run: Run) -> None:
    photos = load_photos(run.data)
    bare = type(photos)(train=(), shots=photos.shots, test=photos.test, refused=(), category="plate", licence="none")
    with pytest.raises(DataError, match=r"plate: no normal photographs to learn from; check data\.root"):
        read_materials(run, bare)


def rows(kinds: list[str]) -> pa.Table:
    """Kept rows as a run's parts have them."""
    values = {
        "kind": kinds,
        "method": ["dual" if kind == "defect" else "variational" for kind in kinds],
        "defect": ["disc" if kind == "defect" else "good" for kind in kinds],
        "image_png": [png(10 * place, 3) for place in range(len(kinds))],
        "label_png": [png(255 if kind == "defect" else 0, 1) for kind in kinds],
    }
    return pa.table({name: pa.chunked_array([pa.array(values[name])]) for name in KEPT_COLUMNS})


# card 002, 7.7
def test_a_normal_is_never_learned_as_a_defect() -> None:
    assert len(kept_defects(rows(["defect", "defect"]))) == 2
    with pytest.raises(DataError, match="1 of 3 rows are of kind 'normal', first of method 'variational'"):
        kept_defects(rows(["defect", "normal", "defect"]))


# card 002, 7.7
def test_generated_normals_are_learned_from_as_normals(run: Run, materials: Materials) -> None:
    grey = np.full((64, 64, 3), 77, np.uint8)
    with_generated = read_materials(run, load_photos(run.data), None, [grey])
    assert len(with_generated.normals) == len(materials.normals) + 1
    image, label, _ = Feed(run, with_generated)(draws("normal", 60))
    assert (image == 77).all(axis=(1, 2, 3)).any()
    assert not label.any()


def test_only_a_detector_that_reconstructs_is_given_sources_and_the_rest_is_the_same(
    run: Run, materials: Materials
) -> None:
    plain, found = Feed(run, materials), Feed(reconstructing(run), materials)
    for kind in ("normal", "rules"):
        without, with_source = plain(draws(kind, 6)), found(draws(kind, 6))
        assert without.source is None
        assert np.array_equal(without.image, with_source.image)
        assert np.array_equal(without.label, with_source.label)


def test_the_source_of_a_rule_image_is_the_image_without_its_defect(run: Run, materials: Materials) -> None:
    found = Feed(reconstructing(run), materials)(draws("rules", 8))
    assert found.source is not None
    turned = [turn for plate in materials.normals for turn in (plate, plate[::-1], plate[:, ::-1], plate[::-1, ::-1])]
    for image, label, source in zip(*found, strict=True):
        assert any(np.array_equal(source, turn) for turn in turned)
        assert np.array_equal(image[label == 0], source[label == 0])
        assert (image != source).any()
    normal = Feed(reconstructing(run), materials)(draws("normal", 4))
    assert np.array_equal(normal.image, normal.source)


def test_a_kept_image_has_its_sources_pixels_inside_the_label_alone(run: Run, materials: Materials) -> None:
    label = np.zeros((64, 64), np.uint8)
    label[:16, :8] = 255
    sink = io.BytesIO()
    Image.fromarray(label).save(sink, "PNG")
    table = rows(["defect"]).set_column(4, "label_png", pa.chunked_array([[sink.getvalue()]]))
    table = table.append_column("source_png", pa.chunked_array([[png(200, 3)]]))
    feed = Feed(reconstructing(run), Materials(materials.normals, (), kept_defects(table)))
    found = feed(draws("generated", 3))
    assert found.source is not None
    assert (found.source[found.label == 1] == 200).all()
    assert np.array_equal(found.source[found.label == 0], found.image[found.label == 0])
    assert (found.image == 0).all()
