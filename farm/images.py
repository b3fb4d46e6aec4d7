"""Photographs and masks as bytes and as arrays, with bounds: a file is judged by its header before it is decoded.

What a camera or a drawing tool may hand over becomes uint8 sRGB (H, W, 3):

    grey, 1-bit and palette   the three channels of their colours
    alpha                     laid on white (a mask: on black, since what is not drawn is no defect)
    CMYK                      Pillow's plain conversion; embedded colour profiles are not applied
    16-bit                    scaled to 8 bits (v / 257, rounded); 32-bit float or wider integers are refused
    EXIF rotation             applied, so that sizes and masks are those a viewer shows
    animation, many pages     the first picture

Only the formats of ``FORMATS`` are read: no interpreter (PostScript) is ever started. Errors are ``DataError``.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from farm.errors import DataError

Pixels = npt.NDArray[np.uint8]
Opened = Image.Image

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # modes of which every value has a colour
MASK_THRESHOLD = 127
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def image_size(data: bytes, where: str, max_megapixels: float = 50.0) -> tuple[int, int]:
    """(H, W) in pixels from the header, as after EXIF rotation. Raises ``DataError`` if no picture or too large."""
    with _opened(data, where, max_megapixels) as picture:
        width, height = picture.size
        return (width, height) if _orientation(picture) >= 5 else (height, width)


def check_image(data: bytes, where: str, max_megapixels: float = 50.0) -> tuple[int, int]:
    """(H, W) as ``image_size`` has it, of a picture that can be decoded: all of it is read, a JPEG at an eighth.

    Raises ``DataError`` where ``decode_image`` would.
    """
    size = image_size(data, where, max_megapixels)
    with _decoded(data, where, max_megapixels, small=True) as picture:
        if picture.mode not in EIGHT_BIT:
            _rgb(picture, (255, 255, 255))
    return size


def decode_image(data: bytes, where: str, max_megapixels: float = 50.0) -> Pixels:
    """uint8 (H, W, 3) sRGB of the file ``data`` that came from ``where``. Raises ``DataError`` naming it."""
    with _decoded(data, where, max_megapixels) as picture:
        return np.array(_rgb(picture, (255, 255, 255)))


def decode_mask(data: bytes, where: str, max_megapixels: float = 50.0) -> Pixels:
    """uint8 (H, W) in {0, 1}: 1 where the file is brighter than 127. Raises ``DataError`` naming ``where``."""
    with _decoded(data, where, max_megapixels) as picture:
        grey = np.asarray(_rgb(picture, (0, 0, 0)).convert("L"))
        return (grey > MASK_THRESHOLD).astype(np.uint8)


def decode_numbers(data: bytes, where: str, max_megapixels: float = 50.0) -> Pixels:
    """uint8 (H, W) as stored, levels of grey or places in a palette: what a mask of numbered regions says.

    Raises ``DataError`` naming ``where``, for a file of colours too.
    """
    with _decoded(data, where, max_megapixels) as picture:
        if picture.mode in ("1", "L", "P"):
            return np.array(picture, dtype=np.uint8)
        channels = np.asarray(picture) if picture.mode == "RGB" else np.empty((1, 1, 0))
        if not channels.size or (channels != channels[..., :1]).any():
            raise DataError(f"{where}: has pixels of mode {picture.mode}, not numbers; save the mask as 8-bit grey")
        return np.array(channels[..., 0])


def encode_png(pixels: Pixels) -> bytes:
    """``pixels``, uint8 (H, W, 3) or (H, W), as PNG; equal pixels give equal bytes. Quick rather than small."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def encode_mask(mask: Pixels) -> bytes:
    """``mask``, (H, W) in {0, 1}, as an 8-bit PNG of 0 and 255."""
    return encode_png((np.asarray(mask) > 0).astype(np.uint8) * np.uint8(255))


def resize_image(image: Pixels, size_px: int) -> Pixels:
    """``image`` (H, W, 3) as (size_px, size_px, 3); the mean of the area where it shrinks, bilinear where it grows."""
    if image.shape[:2] == (size_px, size_px):
        return image
    method = Image.Resampling.BOX if size_px <= min(image.shape[:2]) else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize((size_px, size_px), method))


def resize_mask(mask: Pixels, size_px: int) -> Pixels:
    """``mask`` (H, W) in {0, 1} as (size_px, size_px): 1 where half of the area is defect (card 005 section A).

    A mask that is not empty never becomes empty: one too fine for any pixel keeps those with the largest share.
    """
    if mask.shape == (size_px, size_px):
        return mask
    share = np.asarray(
        Image.fromarray((mask > 0).astype(np.float32)).resize((size_px, size_px), Image.Resampling.BOX), np.float32
    )
    small = share >= 0.5
    if mask.any() and not small.any():
        small = share >= share.max()
    return small.astype(np.uint8)


@contextmanager
def _opened(data: bytes, where: str, max_megapixels: float) -> Iterator[Opened]:
    """The picture with its header read and its size allowed; whatever a decoder raises becomes ``DataError``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, and of sizes that are checked below
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                megapixels = picture.width * picture.height / 1e6
                if megapixels > max_megapixels:
                    raise DataError(
                        f"{where}: {picture.width} x {picture.height} px are {megapixels:.1f} megapixels; at most "
                        f"{max_megapixels:g} are allowed. Make the picture smaller or raise data.max_megapixels"
                    )
                yield picture
        except DataError:
            raise
        except Image.DecompressionBombError as error:
            raise DataError(f"{where}: {error}. Make the picture smaller") from error
        except UnidentifiedImageError as error:
            raise DataError(
                f"{where}: is not a picture that can be read ({len(data)} bytes); use {', '.join(FORMATS)}"
            ) from error
        except Exception as error:  # decoders meet broken bytes: all that they raise means a broken picture
            raise DataError(
                f"{where}: is damaged or cut short ({type(error).__name__}: {error}); copy or export it again"
            ) from error


@contextmanager
def _decoded(data: bytes, where: str, max_megapixels: float, small: bool = False) -> Iterator[Opened]:
    """The picture decoded and turned; ``small`` asks a format that can (JPEG) for an eighth of its sides."""
    with _opened(data, where, max_megapixels) as picture:
        picture.verify()  # checksums; the object cannot be used after
    with _opened(data, where, max_megapixels) as picture:
        orientation = _orientation(picture)
        if small:
            picture.draft("RGB", (1, 1))
        picture.load()
        turn = _TURNS.get(orientation)
        yield picture if turn is None else picture.transpose(turn)


def _orientation(picture: Opened) -> int:
    """The EXIF orientation that is still to be applied, 1 to 8, without decoding."""
    if picture.format == "TIFF":  # Pillow turns these itself, in the header's size too
        return 1
    if picture.format == "PNG" and "exif" not in picture.info:  # asking would decode the picture
        return 1
    found = picture.getexif().get(0x0112, 1)
    return found if found in _TURNS else 1


def _rgb(picture: Opened, ground: tuple[int, int, int]) -> Opened:
    """The picture as RGB, its alpha laid on ``ground``."""
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(np.asarray(picture)))
    if picture.mode == "F":
        raise ValueError("32-bit float pixels have no agreed white; save as 8 or 16 bits")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    plate = Image.new("RGBA", picture.size, (*ground, 255))
    plate.alpha_composite(picture.convert("RGBA"))
    return plate.convert("RGB")


def _eight_bit(values: npt.NDArray[np.generic]) -> Pixels:
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError(f"values from {wide.min()} to {wide.max()} do not fit 16 bits; save as 8 or 16 bits")
    grey = ((wide + 128) // 257).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
