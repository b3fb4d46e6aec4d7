"""What a photograph shows, in words that are true of its pixels."""

from __future__ import annotations

import cv2
import numpy as np

_USUAL = "a photo of"
_OTHERS = ("a close-up photo of", "an inspection photo of", "a photograph of", "a factory photo of")
_HUES = ((10, "red"), (22, "orange"), (34, "yellow"), (80, "green"), (100, "teal"), (130, "blue"), (165, "purple"))
_COLOURED = {"red", "orange", "yellow", "green", "teal", "blue", "purple", "black", "white", "grey", "brass", "copper"}
_VARIED = 0.15


def describe(rng: np.random.Generator, image: np.ndarray, foreground: np.ndarray, phrase: str) -> str:
    """A caption of a defect-free photograph: its phrase, now and then with a word on view, light or colour."""
    opening, varied, coloured = _USUAL, rng.random() < _VARIED, rng.random() < _VARIED
    level = float(image.mean())
    if varied:
        options = list(_OTHERS)
        options += ["a dark photo of"] * 3 if level < 60 else []
        options += ["a bright photo of"] * 3 if level > 180 else []
        opening = options[int(rng.integers(len(options)))]
    colour = colour_word(image[foreground]) if coloured and not _COLOURED & set(phrase.split()) else None
    return f"{opening} {_with_adjective(phrase, colour) if colour else phrase}"


def colour_word(pixels: np.ndarray) -> str | None:
    """The name of the colour of (N, 3) sRGB pixels, None where it is neither clear nor neutral."""
    mean = pixels.reshape(-1, 3).mean(axis=0)
    hue, saturation, value = cv2.cvtColor(mean.astype(np.uint8)[None, None], cv2.COLOR_RGB2HSV)[0, 0].tolist()
    if saturation < 12 or value < 20:
        return "dark grey" if value < 80 else "light grey" if value > 170 else "grey"
    if saturation < 90 or value < 50:
        return None
    if hue < 22 and value < 130:
        return "brown"
    return next((word for bound, word in _HUES if hue < bound), "red")


def _with_adjective(phrase: str, adjective: str) -> str:
    for article in ("a ", "an "):
        if phrase.startswith(article):
            return f"{'an' if adjective[0] in 'aeiou' else 'a'} {adjective} {phrase[len(article) :]}"
    return f"{adjective} {phrase}"
