import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from farm.errors import DataError
from farm.images import (
    decode_image,
    decode_mask,
    decode_numbers,
    encode_mask,
    encode_png,
    image_size,
    resize_image,
    resize_mask,
)


def file_of(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(file, format=kind, **options)
    return file.getvalue()


def scene(height: int = 24, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_as_they_were(kind: str) -> None:
    data = file_of(scene(), kind)
    assert image_size(data, "x") == (24, 16)
    assert np.array_equal(decode_image(data, "x"), scene())


def test_equal_pixels_give_equal_bytes_and_round_trip() -> None:
    assert encode_png(scene()) == encode_png(scene().copy(order="F"))
    assert np.array_equal(decode_image(encode_png(scene()), "x"), scene())
    mask = (scene()[..., 0] > 99).astype(np.uint8)
    assert np.array_equal(decode_mask(encode_mask(mask), "x"), mask)
    assert np.array_equal(decode_image(encode_mask(mask), "x")[..., 0], mask * 255)


def test_grey_palette_and_one_bit_become_rgb() -> None:
    grey = scene()[..., 0]
    assert np.array_equal(decode_image(file_of(grey), "x"), np.repeat(grey[..., None], 3, axis=-1))
    one_bit = Image.fromarray(grey > 127)
    assert np.array_equal(decode_image(file_of(one_bit), "x")[..., 1], (grey > 127) * 255)
    palette = Image.fromarray(scene()).quantize(7)
    assert np.array_equal(decode_image(file_of(palette), "x"), np.asarray(palette.convert("RGB")))


def test_alpha_is_laid_on_white_for_photographs_and_on_black_for_masks() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    pixels[1, 1] = (255, 255, 255, 255)
    image = decode_image(file_of(pixels), "x")
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[0, 1].tolist() == [255, 255, 255]
    assert decode_mask(file_of(pixels), "x").tolist() == [[0, 0], [0, 1]]


def test_numbers_are_read_as_they_are_stored() -> None:
    numbers = np.array([[0, 1, 2], [253, 254, 255]], np.uint8)
    palette = Image.frombytes("P", (3, 2), numbers.tobytes())
    palette.putpalette(list(range(255, -1, -1)) * 3)
    for picture in (numbers, palette, np.repeat(numbers[..., None], 3, axis=-1)):
        assert np.array_equal(decode_numbers(file_of(picture), "x"), numbers)
    assert decode_numbers(file_of(Image.fromarray(numbers > 1)), "x").tolist() == [[0, 0, 1], [1, 1, 1]]
    for picture in (scene(), numbers.astype(np.uint16) * 9, np.dstack([numbers] * 4)):
        with pytest.raises(DataError, match=r"m\.png: has pixels of mode .*, not numbers; save the mask as 8-bit grey"):
            decode_numbers(file_of(picture), "m.png")


def test_cmyk_is_read() -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    data = file_of(Image.fromarray(flat).convert("CMYK"), "TIFF")
    assert np.abs(decode_image(data, "x").astype(int) - flat).max() <= 1


def test_sixteen_bits_are_scaled_and_float_is_refused() -> None:
    wide = np.array([[0, 257], [256 * 100, 65535]], np.uint16)
    assert decode_image(file_of(wide), "x")[..., 2].tolist() == [[0, 1], [100, 255]]
    assert decode_mask(file_of(wide), "x").tolist() == [[0, 0], [0, 1]]
    with pytest.raises(DataError, match=r"a\.tif: .*32-bit float pixels have no agreed white; save as 8 or 16 bits"):
        decode_image(file_of(np.ones((2, 2), np.float32), "TIFF"), "a.tif")
    with pytest.raises(DataError, match=r"values from -5 to 1 do not fit 16 bits"):
        decode_image(file_of(np.array([[-5, 1]], np.int32), "TIFF"), "a.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_to_pixels_and_size(kind: str, orientation: int) -> None:
    corners = np.zeros((32, 48, 3), np.uint8)
    corners[:16, :16], corners[16:, 32:] = (255, 0, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_of(corners, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    red, blue = {
        1: ((0, 0), (-1, -1)),
        2: ((0, -1), (-1, 0)),
        3: ((-1, -1), (0, 0)),
        4: ((-1, 0), (0, -1)),
        5: ((0, 0), (-1, -1)),
        6: ((0, -1), (-1, 0)),
        7: ((-1, -1), (0, 0)),
        8: ((-1, 0), (0, -1)),
    }[orientation]
    image = decode_image(data, "x")
    assert image.shape[:2] == image_size(data, "x") == ((32, 48) if orientation < 5 else (48, 32))
    assert image[red].argmax() == 0
    assert image[red].max() > 200
    assert image[blue].argmax() == 2
    assert image[blue].max() > 200


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data, "x")[0, 0].tolist() == [255, 0, 0]


def test_masks_are_cut_at_127() -> None:
    assert decode_mask(file_of(np.array([[0, 127, 128, 255]], np.uint8)), "x").tolist() == [[0, 0, 1, 1]]


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 100) + b"IDAT"  # pixels announced, none there


@pytest.mark.parametrize("read", [decode_image, decode_mask, image_size])
def test_too_large_pictures_are_refused_by_their_header(read: Any) -> None:
    bomb = png_header(9000, 8000)
    text = r"big\.png: 9000 x 8000 px are 72\.0 megapixels; at most 50 are allowed. .*raise data\.max_megapixels"
    with pytest.raises(DataError, match=text):
        read(bomb, "big.png")
    with pytest.raises(DataError, match=r"24 x 24 px are 0\.0 megapixels; at most 0\.0001 are allowed"):
        read(file_of(scene(24, 24)), "x", 0.0001)
    with pytest.raises(DataError, match=r"big\.png: Image size .* exceeds limit"):
        read(png_header(60000, 60000), "big.png", 1e6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"])
def test_truncated_files_are_errors(kind: str) -> None:
    data = file_of(scene(64, 64), kind)
    with pytest.raises(DataError, match=r"cut/a: (is damaged or cut short|is not a picture)"):
        decode_image(data[: len(data) // 2], "cut/a")


def test_a_wrong_checksum_is_an_error() -> None:
    data = bytearray(file_of(scene(64, 64)))
    data[data.index(b"IEND") - 5] ^= 1  # of the pixels' checksum: they could be decoded all the same
    with pytest.raises(DataError, match=r"a\.png: is damaged or cut short .*; copy or export it again"):
        decode_image(bytes(data), "a.png")


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(DataError, match=r"notes\.png: is not a picture that can be read \(5 bytes\); use PNG, JPEG"):
        decode_image(b"hello", "notes.png")
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(DataError, match="is not a picture"):
        decode_image(postscript, "x.eps")


@settings(max_examples=80, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"]), cuts=st.data())
def test_broken_bytes_give_pixels_or_a_data_error(kind: str, cuts: st.DataObject) -> None:
    data = bytearray(file_of(scene(), kind))
    for _ in range(cuts.draw(st.integers(1, 4))):
        data[cuts.draw(st.integers(0, len(data) - 1))] = cuts.draw(st.integers(0, 255))
    for read in (decode_image, decode_mask, image_size):
        found: Any = ""
        try:
            found = read(bytes(data), "fuzz")
        except DataError as error:
            found = str(error)
        assert isinstance(found, tuple) or (
            found.startswith("fuzz: ") if isinstance(found, str) else found.dtype == np.uint8
        )


def test_images_shrink_by_the_mean_of_the_area() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:2, :4] = 200
    image[0, 4] = 255
    assert resize_image(image, 2)[..., 0].tolist() == [[200, 32], [0, 0]]
    assert resize_image(np.full((5, 7, 3), 9, np.uint8), 32).tolist() == np.full((32, 32, 3), 9).tolist()
    assert resize_image(image, 64).shape == (64, 64, 3)


def test_masks_shrink_by_half_the_area() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, :2], mask[0, 2], mask[2:, 2:] = 1, 1, 1
    assert resize_mask(mask, 2).tolist() == [[1, 0], [0, 1]]  # shares 1/2, 1/4, 0 and 1


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70), width=st.integers(1, 70), size=st.sampled_from([1, 8, 32, 64]), seed=st.integers(0, 99)
)
def test_a_mask_never_becomes_empty_or_appears_from_nothing(height: int, width: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    assert not resize_mask(mask, size).any()
    mask[rng.integers(height), rng.integers(width)] = 1
    small = resize_mask(mask, size)
    assert small.any()
    assert small.shape == (size, size)
    assert set(np.unique(small)) <= {0, 1}
