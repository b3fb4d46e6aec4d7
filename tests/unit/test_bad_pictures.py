"""Picture files as cameras, scanners, drawing tools and broken disks leave them: what each of them becomes."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from farm.datasets import read_mask, read_photo
from farm.errors import DataError
from farm.images import check_image, decode_image, decode_mask, image_size, resize_image, resize_mask
from tests.trees import load_folder, plain_folder, save_photo

RAMP = np.linspace(0, 255, 32 * 24).astype(np.uint8).reshape(24, 32)
COLOURS = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 90)], axis=-1)
NOISE = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)  # most of its file is pixels
MIB = 2**20


def saved(picture: Any, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, format=kind, **options)
    return file.getvalue()


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated_png": (lambda: cut(saved(NOISE)), "is damaged or cut short"),
    "truncated_jpeg": (lambda: cut(saved(NOISE, "JPEG")), "is damaged or cut short"),
    "zero_bytes": (lambda: b"", r"is not a picture that can be read \(0 bytes\); use PNG, JPEG"),
    "text_named_png": (lambda: b"see the other folder\n", r"is not a picture that can be read \(21 bytes\)"),
    "web_page_named_png": (lambda: b"<html><body>404</body></html>", "is not a picture that can be read"),
    "float_tiff_with_nan": (
        lambda: saved(np.array([[0.5, np.nan], [np.inf, 1.0]], np.float32), "TIFF"),
        "32-bit float pixels have no agreed white; save as 8 or 16 bits",
    ),
    "wide_integers": (lambda: saved(np.array([[-5, 70000]], np.int32), "TIFF"), "do not fit 16 bits"),
    "decompression_bomb": (lambda: png_header(100_000, 100_000), r"exceeds limit of .*\. Make the picture smaller"),
    "fifty_one_megapixels": (lambda: png_header(8000, 6400), r"8000 x 6400 px are 51\.2 megapixels; at most 50 are"),
    "no_pixels": (lambda: png_header(0, 7), "is not a picture that can be read"),
    "half_a_gif": (lambda: cut(saved(Image.fromarray(COLOURS), "GIF")), "is not a picture that can be read"),
}


def png_header(width: int, height: int) -> bytes:
    """A PNG of 45 bytes that announces any size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return start + struct.pack(">I", 100) + b"IDAT"


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_photograph_is_refused_with_its_reason_and_all_others_stay(kind: str, tmp_path: Path) -> None:
    make, reason = REFUSED[kind]
    root = plain_folder(tmp_path)
    before = load_folder(root)
    (root / "good" / "9.png").write_bytes(make())
    photos = load_folder(root)
    (bad,) = photos.refused
    assert bad.path == str(root / "good" / "9.png")
    with pytest.raises(DataError, match=rf"^good/9\.png: .*{reason}"):
        raise DataError(bad.reason)
    assert {photo.relative for photo in photos.train} == {photo.relative for photo in before.train}
    assert {photo.relative for photo in photos.test} == {photo.relative for photo in before.test}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_mask_refuses_its_photograph_alone(kind: str, tmp_path: Path) -> None:
    root = plain_folder(tmp_path)
    (root / "masks" / "dent" / "0.png").write_bytes(REFUSED[kind][0]())
    photos = load_folder(root)
    assert [bad.path for bad in photos.refused] == [str(root / "dent" / "0.png")]
    assert photos.refused[0].reason.startswith("masks/dent/0.png: ")
    assert [photo.relative for photo in photos.test if photo.defect] == ["dent/1.png"]


def gif_header(side: int) -> bytes:
    screen, frame = struct.pack("<HHBBB", side, side, 0, 0, 0), struct.pack("<HHHHB", 0, 0, side, side, 0)
    return b"GIF89a" + screen + b"," + frame + b"\x08\x01\0\0;"


def bmp_header(side: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIIIHHIIIIII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 1, 1, 0, 0)


def tiff_header(side: int) -> bytes:
    tags = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


BOMBS = {
    "PNG": png_header(100_000, 100_000),
    "GIF": gif_header(65_000),
    "BMP": bmp_header(100_000),
    "TIFF": tiff_header(100_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_of_a_few_bytes_takes_no_memory(kind: str) -> None:
    """The header is judged before a byte is decoded: 100,000 x 100,000 px would be 30 GB."""
    tracemalloc.start()
    for read in (image_size, check_image, decode_image, decode_mask):
        with pytest.raises(DataError, match=r"^x: .*exceeds limit of .* pixels"):
            read(BOMBS[kind], "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * MIB


def test_a_photograph_of_exactly_fifty_megapixels_is_read(tmp_path: Path) -> None:
    root = plain_folder(tmp_path)
    large = np.zeros((5000, 10_000), bool)
    large[:, 5000:] = True
    (root / "good" / "0.png").write_bytes(saved(Image.fromarray(large)))
    photos = load_folder(root)
    assert photos.refused == ()
    small = read_photo(next(photo for photo in photos.train if photo.relative == "good/0.png"), 64)
    assert small[:, :32].max() == 0
    assert small[:, 32:].min() == 255


def test_the_name_says_nothing_about_the_format() -> None:
    assert decode_image(saved(COLOURS, "BMP"), "photo.png").tolist() == COLOURS.tolist()
    assert np.abs(decode_image(saved(COLOURS, "JPEG", quality=95), "photo.png").astype(int) - COLOURS).mean() < 6


def test_a_jpeg_named_png_is_a_photograph_like_any_other(tmp_path: Path) -> None:
    root = plain_folder(tmp_path)
    (root / "good" / "0.png").write_bytes(saved(COLOURS, "JPEG"))
    photos = load_folder(root)
    assert photos.refused == ()
    assert read_photo(photos.train[0], 16).shape == (16, 16, 3)


@pytest.mark.parametrize("adobe", [True, False])
def test_a_cmyk_jpeg_has_the_colours_that_a_viewer_shows(adobe: bool) -> None:
    """The inks are stored inverted, whether or not Adobe's marker says so: no program writes them otherwise."""
    flat = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    data = saved(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=95)
    marker = data.index(b"\xff\xee")
    if not adobe:
        data = data[:marker] + data[marker + 2 + struct.unpack(">H", data[marker + 2 : marker + 4])[0] :]
    assert np.abs(decode_image(data, "x").astype(int) - flat).max() <= 6


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    wide = np.array([[0, 128, 129, 257], [1000, 32_768, 65_406, 65_535]], np.uint16)
    wanted = np.round(wide / 257).astype(int)
    assert decode_image(saved(wide), "x")[..., 0].tolist() == wanted.tolist() == [[0, 0, 1, 1], [4, 128, 254, 255]]
    assert decode_image(saved(wide, "TIFF"), "x")[..., 2].tolist() == wanted.tolist()


def test_palette_transparency_and_every_kind_of_alpha() -> None:
    plain = Image.fromarray(COLOURS).quantize(16)
    assert np.array_equal(decode_image(saved(plain), "x"), np.asarray(plain.convert("RGB")))
    flags = Image.new("P", (2, 1))
    flags.putpalette([255, 0, 0, 0, 0, 255])
    flags.putdata([0, 1])
    assert decode_image(saved(flags, transparency=1), "x").tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert decode_mask(saved(flags, transparency=0), "x").tolist() == [[0, 0]]
    grey_alpha = Image.fromarray(np.array([[[100, 255], [100, 0], [0, 128]]], np.uint8), "LA")
    assert decode_image(saved(grey_alpha), "x")[0, :, 0].tolist() == [100, 255, 127]
    colour_alpha = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    assert decode_image(saved(colour_alpha), "x").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_one_bit_is_black_and_white() -> None:
    bits = Image.fromarray(np.array([[True, False], [False, True]]))
    assert decode_image(saved(bits), "x")[..., 1].tolist() == [[255, 0], [0, 255]]
    assert decode_mask(saved(bits, "TIFF"), "x").tolist() == [[1, 0], [0, 1]]


def sideways(pixels: np.ndarray) -> bytes:
    """As a camera held upright writes it: ``pixels`` with the note "turn by 90 degrees to the right"."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(np.rot90(pixels), exif=exif)


def test_a_turned_photograph_takes_a_mask_drawn_on_what_a_viewer_shows(tmp_path: Path) -> None:
    root = plain_folder(tmp_path)
    mask = np.zeros((24, 32), np.uint8)
    mask[2:6, 20:30] = 255
    (root / "dent" / "0.png").write_bytes(sideways(COLOURS))
    (root / "masks" / "dent" / "0.png").write_bytes(saved(mask))
    (photo,) = [photo for photo in load_folder(root).test if photo.relative == "dent/0.png"]
    assert np.array_equal(decode_image(Path(photo.path).read_bytes(), "x"), COLOURS)
    upright = read_mask(photo, 32)
    assert upright[:8, 20:30].any()
    assert not upright[16:].any()
    (root / "masks" / "dent" / "0.png").write_bytes(sideways(mask))  # a mask that is turned itself is turned back
    (again,) = [photo for photo in load_folder(root).test if photo.relative == "dent/0.png"]
    assert np.array_equal(read_mask(again, 32), upright)


def test_a_mask_drawn_on_the_pixels_before_turning_is_refused_by_its_size(tmp_path: Path) -> None:
    root = plain_folder(tmp_path)
    (root / "dent" / "0.png").write_bytes(sideways(COLOURS))
    (root / "masks" / "dent" / "0.png").write_bytes(saved(np.full((32, 24), 255, np.uint8)))
    (bad,) = load_folder(root).refused
    assert "the mask has 24 x 32 px but its photograph 32 x 24" in bad.reason


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_an_animation_or_many_pages_the_first_counts(kind: str) -> None:
    pages = [Image.new("RGB", (8, 6), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = saved(pages[0], kind, save_all=True, append_images=pages[1:], **lossless)
    assert image_size(data, "x") == check_image(data, "x") == (6, 8)
    assert np.unique(decode_image(data, "x").reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9000), (9000, 1), (2, 3)])
def test_tiny_and_very_long_pictures_are_pictures(height: int, width: int) -> None:
    pixels = np.full((height, width, 3), (7, 8, 9), np.uint8)
    image = decode_image(saved(pixels), "x")
    assert resize_image(image, 64).tolist() == np.broadcast_to((7, 8, 9), (64, 64, 3)).tolist()
    mask = np.zeros((height, width), np.uint8)
    mask[-1, -1] = 1
    small = resize_mask(mask, 64)
    assert small.shape == (64, 64)
    assert small[-1, -1] == 1


def test_a_textile_that_is_nothing_but_its_white_line_is_an_error_in_words(tmp_path: Path) -> None:
    for name in ("nominal", "local", "global"):
        save_photo(tmp_path / name / "textile_0001.jpg", side=1 if name == "nominal" else 8)
    (photo,) = load_folder(tmp_path, kind="textile").train
    with pytest.raises(DataError, match=r"textile_0001\.jpg: nothing is left of it without its white line"):
        read_photo(photo, 32)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([0, 255], [0, 1]), ([0, 1], None), ([0, 127], None), ([127, 128], [0, 1]), ([10, 250], [0, 1])],
)
def test_a_mask_of_other_values_is_cut_at_127_or_refused_as_empty(
    values: list[int], wanted: list[int] | None, tmp_path: Path
) -> None:
    root = plain_folder(tmp_path)
    mask = np.full((16, 16), values[0], np.uint8)
    mask[4:8, 4:8] = values[1]
    (root / "masks" / "dent" / "0.png").write_bytes(saved(mask))
    photos = load_folder(root)
    if wanted is None:
        assert [bad.reason.split(";")[0] for bad in photos.refused] == [
            "masks/dent/0.png: the mask is empty (no pixel above 127)"
        ]
        return
    (photo,) = [photo for photo in photos.test if photo.relative == "dent/0.png"]
    assert read_mask(photo, 16).sum() == 16
