"""How rules change colours and shapes of what they paste: CutPaste's colour jitter and DRAEM's ten augmenters.

Ranges are those of card 000 section 4, re-implemented on uint8 sRGB (H, W, 3) with OpenCV. One departure: a turned
texture is mirrored at its edges, where DRAEM leaves black corners.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from farm.images import Pixels

Augmenter = Callable[[Pixels, np.random.Generator], Pixels]

JITTER = 0.1  # brightness, contrast and saturation times U(1 - 0.1, 1 + 0.1); hue turned by U(-0.1, 0.1) of the circle
PICKS = 3  # augmenters applied to a texture, of the ten
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def colour_jitter(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """``pixels`` with brightness, contrast, saturation and hue moved by at most ``JITTER``."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    values = pixels.astype(np.float32) * np.float32(brightness)
    mean = np.float32(values.mean())
    values = mean + np.float32(contrast) * (values - mean)
    hsv = cv2.cvtColor(_clipped(values), cv2.COLOR_RGB2HSV_FULL).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + 256 * np.float32(rng.uniform(-JITTER, JITTER))) % 256
    hsv[..., 1] *= np.float32(saturation)
    return np.asarray(cv2.cvtColor(_clipped(hsv), cv2.COLOR_HSV2RGB_FULL), np.uint8)


def augment_texture(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """``pixels`` through ``PICKS`` different augmenters, in random order."""
    names = list(AUGMENTERS)
    for pick in rng.choice(len(names), PICKS, replace=False):
        pixels = AUGMENTERS[names[int(pick)]](pixels, rng)
    return pixels


def _gamma(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    ramp = np.linspace(0, 1, 256)
    return _looked_up(pixels, [255 * ramp**power for power in rng.uniform(0.5, 2.0, 3)])


def _brightness(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL).astype(np.float32)
    hsv[..., 2] = hsv[..., 2] * np.float32(rng.uniform(0.8, 1.2)) + np.float32(rng.uniform(-30, 30))
    return np.asarray(cv2.cvtColor(_clipped(hsv), cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _sharpness(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    values = pixels.astype(np.float32)
    smooth = cv2.filter2D(values, -1, SMOOTH)
    return _clipped(smooth + np.float32(rng.uniform(0, 2)) * (values - smooth))


def _hue_and_saturation(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL).astype(np.int16)
    hue, saturation = rng.integers(-50, 51, 2)
    hsv[..., 0] = (hsv[..., 0] + hue) % 256
    hsv[..., 1] += saturation
    return np.asarray(cv2.cvtColor(_clipped(hsv), cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _solarize(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    threshold, applied = int(rng.integers(32, 129)), bool(rng.random() < 0.5)
    return np.where(pixels < threshold, pixels, 255 - pixels).astype(np.uint8) if applied else pixels


def _posterize(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    dropped = 8 - int(rng.integers(1, 9))
    return ((pixels >> dropped) << dropped).astype(np.uint8)


def _invert(pixels: Pixels, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
    return 255 - pixels


def _autocontrast(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    cut = float(rng.uniform(0, 20))
    ramp = np.arange(256, dtype=np.float64)
    tables = []
    for channel in range(3):
        low, high = np.percentile(pixels[..., channel], (cut, 100 - cut))
        tables.append((ramp - low) * 255 / (high - low) if high > low else ramp)
    return _looked_up(pixels, tables)


def _equalize(pixels: Pixels, rng: np.random.Generator) -> Pixels:  # noqa: ARG001
    return np.stack([cv2.equalizeHist(np.ascontiguousarray(pixels[..., channel])) for channel in range(3)], axis=-1)


def _turn(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(rng.uniform(-45, 45)), 1.0)
    turned = cv2.warpAffine(pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(turned, np.uint8)


AUGMENTERS: dict[str, Augmenter] = {
    "gamma": _gamma,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "hue_and_saturation": _hue_and_saturation,
    "solarize": _solarize,
    "posterize": _posterize,
    "invert": _invert,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "turn": _turn,
}


def _looked_up(pixels: Pixels, tables: list[npt.NDArray[np.float64]]) -> Pixels:
    """Each channel through its table of 256 values."""
    table = np.stack([_clipped(values) for values in tables], axis=-1)
    return np.asarray(cv2.LUT(pixels, table[None]), np.uint8)


def _clipped(values: npt.NDArray[np.generic]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
