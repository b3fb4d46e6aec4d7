"""The dry-run method keeps the contract that every method keeps, a dry run needs no torch, and the short cuts that
make a row of it cheap write the bytes that the long way writes.
"""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from farm.config import Masks, NullConfig, Run, parse
from farm.datasets import load_photos
from farm.errors import DataError
from farm.ids import digest, generator
from farm.images import decode_image, decode_mask, encode_mask, encode_png
from farm.masks import target_mask
from farm.methods import Made, Request, build_method
from farm.methods.null import LEAST_STEP, Null, changed, patch
from farm.stages.sources import Sources
from farm.verify import touched
from tests.photos import make_run, make_tree, plate

ROOT = Path(__file__).resolve().parents[3]
SIZE = 32


def request(count: int = 12, first: int = 0) -> Request:
    rows = range(first, first + count)
    return Request(
        source=np.stack([plate(row, SIZE) for row in rows]),
        mask=np.stack([target_mask("perlin", row, SIZE, Masks()) for row in rows]),
        seed=np.array([row * 7919 for row in rows], np.int64),
        recipe=("",) * count,
        prompt=("",) * count,
        normal_prompt=("",) * count,
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "plates", tmp_path / "run", size_px=SIZE, methods=[{"kind": "null"}])


@pytest.fixture
def null(run: Run) -> Null:
    method = build_method(run.methods[0], run)
    assert isinstance(method, Null)
    return method


def test_the_label_is_where_pixels_changed_and_it_lies_in_the_mask(null: Null) -> None:
    asked = request()
    made = null(asked)
    moved = np.abs(made.image.astype(int) - asked.source)
    np.testing.assert_array_equal(moved.any(axis=-1), made.label > 0)
    assert moved[made.label > 0].min() >= LEAST_STEP
    assert not (made.label > asked.mask).any()
    assert made.label.any(axis=(1, 2)).all()
    assert made.error == made.objection == ("",) * 12
    assert not made.evaluations.any()


def test_a_row_is_the_same_alone_and_among_others(null: Null) -> None:
    many = null(request(12))
    for row in (0, 5, 11):
        one = null(request(1, first=row))
        assert one.image[0].tobytes() == many.image[row].tobytes()
        assert one.label[0].tobytes() == many.label[row].tobytes()


def test_seeds_decide_the_patch(null: Null) -> None:
    asked = request(1)
    seeds = np.arange(20, dtype=np.int64)
    same = Request(asked.source.repeat(20, 0), np.ones((20, SIZE, SIZE), np.uint8), seeds, *[("",) * 20] * 3)
    images = {image.tobytes() for image in null(same).image}
    assert len(images) == 20


def test_the_sources_are_left_as_they_were(null: Null) -> None:
    asked = request()
    before = asked.source.copy()
    null(asked)
    np.testing.assert_array_equal(asked.source, before)


def test_an_empty_mask_is_an_error_of_its_row_alone(null: Null) -> None:
    asked = request(3)
    asked.mask[1] = 0
    made: Made = null(asked)
    assert made.error == ("", "the target mask is empty", "")


@pytest.mark.parametrize("step", [LEAST_STEP, 95, 128])
def test_no_value_stays_as_it_is(step: int) -> None:
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(np.abs(changed(values, step).astype(int) - values), step)


def test_a_patch_at_the_edge_stays_inside() -> None:
    assert patch(0, SIZE) == (slice(0, 8), slice(0, 8))
    last = np.zeros((SIZE, SIZE))[patch(SIZE * SIZE - 1, SIZE)]
    assert last.shape == (5, 5)


def test_verify_lets_it_touch_its_mask_and_nothing_else() -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:7, 9] = 1
    np.testing.assert_array_equal(touched(mask, NullConfig()), mask > 0)


def test_a_dry_run_imports_no_torch(tmp_path: Path) -> None:
    run = make_run(
        make_tree(tmp_path / "plates", train=6, side=SIZE),
        tmp_path / "run",
        size_px=SIZE,
        methods=[{"kind": "null"}, {"kind": "rules"}],
        embed={"kind": "pixels"},
    )
    assert parse(run.model_dump(mode="json"), "tests") == run
    code = (
        "import sys, json; from farm.config import parse; from farm.prepare import prepare\n"
        "from farm.embedders import load_embedder; from farm.stages.embed import Embed\n"
        "from farm.stages.generate import Generate\n"
        "run = parse(json.loads(sys.stdin.read()), 'tests'); folder, plan = prepare(run)\n"
        "batch, _ = Generate(run, plan.photos, plan, lambda *_: None).shard(0)\n"
        "made = Embed(load_embedder(run.embed, run.compute), run.embed).rows(batch, 4)\n"
        "assert (batch['status'] == 'made').all() and made['embedding'].shape == (4, 64)\n"
        "print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=run.model_dump_json(), capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


PICTURES = [
    *[
        np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
        for seed, side in enumerate((1, 33))
    ],
    *[plate(side, side) for side in (32, 64, 128, 136)],
    np.full((40, 24, 3), 7, np.uint8),
]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: "x".join(map(str, picture.shape)))
def test_a_small_picture_has_the_bytes_that_pillow_writes(picture: np.ndarray) -> None:
    for pixels in (picture, picture[..., 0]):
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG", compress_level=1)
        assert encode_png(pixels) == file.getvalue()
    np.testing.assert_array_equal(decode_image(encode_png(picture), "here"), picture)
    mask = (picture[..., 0] > 99).astype(np.uint8)
    np.testing.assert_array_equal(decode_mask(encode_mask(mask), "here"), mask)


def test_a_damaged_small_picture_is_an_error_or_the_picture_as_it_was() -> None:
    png = encode_png(plate(1, 8))
    found = 0
    for place in range(len(png)):
        try:
            pixels = decode_image(png[:place] + bytes([png[place] ^ 16]) + png[place + 1 :], "here")
        except DataError:
            found += 1
            continue
        np.testing.assert_array_equal(pixels, plate(1, 8))
    assert found >= len(png) - 12  # Pillow does not look at the last chunk, which is empty


def test_the_limit_holds_for_small_pictures_too() -> None:
    png = encode_png(plate(1, 8))
    np.testing.assert_array_equal(decode_image(png, "here", max_megapixels=64e-6), plate(1, 8))
    with pytest.raises(DataError, match="here: 8 x 8 px are"):
        decode_image(png, "here", max_megapixels=60e-6)


def test_a_generator_is_philox_under_the_hash_of_seed_and_purpose() -> None:
    key = np.frombuffer(digest("stream", 12, "plan")[:16], dtype=np.uint64)
    plain = np.random.Generator(np.random.Philox(key=key))
    np.testing.assert_array_equal(generator(12, "plan").integers(0, 2**62, 50), plain.integers(0, 2**62, 50))


def test_the_png_of_a_source_is_kept_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(make_tree(tmp_path / "plates", train=3, side=SIZE), tmp_path / "run", size_px=SIZE)
    photos = load_photos(run.data)
    names = [photo.photo_id for photo in photos.train]
    sources = Sources(run, photos)
    first = sources.png(names[0])
    np.testing.assert_array_equal(decode_image(first, "here"), sources.source(names[0])[0])
    assert sources.png(names[0]) is first
    monkeypatch.setattr("farm.stages.sources.CACHED_PNG_BYTES", len(first))
    sources.png(names[1])
    again = sources.png(names[0])
    assert again == first
    assert again is not first
