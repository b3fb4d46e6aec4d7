"""The five rules: (source, target mask, generator, texture bank) → a proposed image. Constants of card 000 section 4.

A proposal may differ from the source anywhere; ``farm.methods.rules`` keeps what lies inside the target mask. So a rule
that pastes a shape of its own (copy_paste, scar, poisson) puts the middle of its patch on a deep pixel of the mask, and
the mask cuts the patch to its outline; perlin and noise fill the mask. Lengths in px of the papers' 256 px images are
scaled with the image.

    copy_paste, scar   Li et al. 2021 (CutPaste)        perlin   Zavrtanik et al. 2021 (DRAEM)
    poisson            Schlueter et al. 2022 (NSA)      noise    local Gaussian, salt and pepper, or blur
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from farm.distance import distance_px
from farm.images import Pixels
from farm.methods.rule_augment import augment_texture, colour_jitter

cv2.setNumThreads(1)

Texture = Callable[[int, int], Pixels]  # (seed, size_px) -> uint8 (size_px, size_px, 3)
Recipe = Callable[[Pixels, Pixels, np.random.Generator, Texture], Pixels]

PAPER_PX = 256
PATCH_AREA, PATCH_ASPECT = (0.02, 0.15), (0.3, 3.3)  # share of the image; height / width, log-uniform
SCAR_WIDTH_PX, SCAR_LENGTH_PX, SCAR_TURN_DEG = (2.0, 16.0), (10.0, 25.0), 45.0
BETA = (0.0, 0.8)  # share of the source that shows through the texture
NSA_HALF, NSA_RESIZE, NSA_RESIZE_SPREAD = (0.05, 0.20), (0.7, 1.3), 0.5  # half-width as share of the image's side
NSA_MOST, NSA_AGAIN = 3, 0.5  # patches at most, and the chance of each further one
GAUSSIAN_SIGMA, SALT_SHARE, BLUR_SIGMA_PX = (15.0, 60.0), (0.05, 0.4), (2.0, 8.0)
MARGIN_PX = 4  # OpenCV's clone leaves out the outermost 3 pixels of its mask, and needs room around it
LEAST_CLONE_PX = 7  # so nothing of a thinner mask is blended; below 3 px OpenCV 5.0 raises


@dataclass(frozen=True)
class Scar:
    """A strip of the source that is turned: px and degrees."""

    width: int
    length: int
    angle: float


def draw_patch(rng: np.random.Generator, height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of a CutPaste patch: 2 to 15 % of the image, aspect log-uniform in 0.3 to 3.3."""
    area = rng.uniform(*PATCH_AREA) * height * width
    aspect = math.exp(rng.uniform(math.log(PATCH_ASPECT[0]), math.log(PATCH_ASPECT[1])))
    rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(rows, 1), height), min(max(columns, 1), width)


def draw_scar(rng: np.random.Generator, size_px: int) -> Scar:
    """2 to 16 by 10 to 25 px of a 256 px image, turned by U(-45, 45) degrees; never thinner than 2 px."""
    scale = size_px / PAPER_PX
    width, length = rng.uniform(*SCAR_WIDTH_PX) * scale, rng.uniform(*SCAR_LENGTH_PX) * scale
    return Scar(max(2, round(width)), max(2, round(length)), float(rng.uniform(-SCAR_TURN_DEG, SCAR_TURN_DEG)))


def draw_nsa(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, float]:
    """(rows, columns, factor) of an NSA patch: half-widths 5 to 20 % of the sides, resized by N(1, 0.5) in 0.7..1.3."""
    halves = rng.uniform(*NSA_HALF, 2)
    factor = float(np.clip(rng.normal(1, NSA_RESIZE_SPREAD), *NSA_RESIZE))
    return max(2, round(2 * halves[0] * height)), max(2, round(2 * halves[1] * width)), factor


def deep_pixel(mask: Pixels, rng: np.random.Generator) -> tuple[int, int]:
    """(row, column) of a pixel of ``mask`` at least half as far from its edge as the deepest one."""
    depth = distance_px(mask)
    deep = np.flatnonzero(depth >= depth.max() / 2)
    row, column = divmod(int(deep[rng.integers(len(deep))]), mask.shape[1])
    return row, column


def copy_paste(source: Pixels, mask: Pixels, rng: np.random.Generator, _: Texture) -> Pixels:
    """A rectangle of the source, colours jittered, over the mask."""
    patch = colour_jitter(_cut(source, draw_patch(rng, *mask.shape), rng), rng)
    return _pasted(source, patch, deep_pixel(mask, rng))[0]


def scar(source: Pixels, mask: Pixels, rng: np.random.Generator, _: Texture) -> Pixels:
    """A turned strip of the source, colours jittered, over the mask."""
    drawn = draw_scar(rng, min(mask.shape))
    strip = colour_jitter(_cut(source, (drawn.length, drawn.width), rng), rng)
    row, column = deep_pixel(mask, rng)
    middle = ((strip.shape[1] - 1) / 2, (strip.shape[0] - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, drawn.angle, 1.0)
    turn[:, 2] += (column - middle[0], row - middle[1])
    size = mask.shape[::-1]
    moved = cv2.warpAffine(strip, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(np.ones(strip.shape[:2], np.float32), turn, size, flags=cv2.INTER_LINEAR) >= 0.5
    return np.where(cover[..., None], moved, source).astype(np.uint8)


def perlin(source: Pixels, mask: Pixels, rng: np.random.Generator, texture: Texture) -> Pixels:
    """(1 - beta) A + beta I over the mask, with A a texture through three augmenters and beta from U(0, 0.8)."""
    foreign = texture(int(rng.integers(2**62)), mask.shape[0])
    beta = np.float32(rng.uniform(*BETA))
    foreign = augment_texture(foreign, rng)
    return _rounded((1 - beta) * foreign.astype(np.float32) + beta * source.astype(np.float32))


def noise(source: Pixels, mask: Pixels, rng: np.random.Generator, _: Texture) -> Pixels:
    """Gaussian noise, salt and pepper, or blur over the mask, one of the three."""
    kind = int(rng.integers(3))
    if kind == 0:
        added = rng.standard_normal(source.shape, np.float32) * np.float32(rng.uniform(*GAUSSIAN_SIGMA))
        return _rounded(source.astype(np.float32) + added)
    if kind == 1:
        hit = rng.random(mask.shape, np.float32) < rng.uniform(*SALT_SHARE)
        grains = rng.integers(0, 2, mask.shape, np.uint8) * np.uint8(255)
        return np.where(hit[..., None], grains[..., None], source).astype(np.uint8)
    sigma = float(rng.uniform(*BLUR_SIGMA_PX)) * min(mask.shape) / PAPER_PX
    return np.asarray(cv2.GaussianBlur(source, (0, 0), sigma), np.uint8)


def poisson(source: Pixels, mask: Pixels, rng: np.random.Generator, _: Texture) -> Pixels:
    """One to three resized patches of the source, Poisson-blended (normal or mixed gradients) over the mask.

    Perez et al. 2003 as in OpenCV. The blend is solved on patch and mask widened by ``MARGIN_PX``, since the clone
    leaves the outermost pixels of its mask as they are.
    """
    image = source
    wide = cv2.dilate(mask, np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8))
    for count in range(NSA_MOST):
        if count and rng.random() >= NSA_AGAIN:
            break
        rows, columns, factor = draw_nsa(rng, *mask.shape)
        cut = _cut(source, (rows, columns), rng)
        size = (max(2, round(columns * factor)), max(2, round(rows * factor)))
        patch = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        mode = cv2.NORMAL_CLONE if rng.random() < 0.5 else cv2.MIXED_CLONE
        pasted, place = _pasted(source, patch, deep_pixel(mask, rng))
        image = cloned(pasted, image, place & wide, mode)
    return image


def cloned(pasted: Pixels, image: Pixels, region: Pixels, mode: int) -> Pixels:
    """``image`` with the gradients of ``pasted`` where ``region``, uint8 (H, W) in {0, 1} and not empty, is 1.

    ``mode`` is ``cv2.NORMAL_CLONE`` or ``cv2.MIXED_CLONE``. The outermost pixels of the region stay as they are,
    so that one thinner than ``LEAST_CLONE_PX`` is left whole.
    """
    pad = MARGIN_PX
    x, y, width, height = cv2.boundingRect(region)
    if min(width, height) < LEAST_CLONE_PX:
        return image
    window = (slice(y, y + height + 2 * pad), slice(x, x + width + 2 * pad))
    edges = (pad, pad, pad, pad)
    near, new = (
        cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_REFLECT_101)[window].copy() for pixels in (image, pasted)
    )
    where = cv2.copyMakeBorder(region * np.uint8(255), *edges, cv2.BORDER_CONSTANT, value=0)[window].copy()
    middle = (pad + width // 2, pad + height // 2)
    blended = cv2.seamlessClone(new, near, where, middle, mode)  # OpenCV writes into ``where``
    result = image.copy()
    result[y : y + height, x : x + width] = blended[pad : pad + height, pad : pad + width]
    return result


RECIPES: dict[str, Recipe] = {
    "copy_paste": copy_paste,
    "perlin": perlin,
    "scar": scar,
    "noise": noise,
    "poisson": poisson,
}


def _cut(source: Pixels, shape: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random (rows, columns) rectangle of the source."""
    rows, columns = min(shape[0], source.shape[0]), min(shape[1], source.shape[1])
    top = int(rng.integers(source.shape[0] - rows + 1))
    left = int(rng.integers(source.shape[1] - columns + 1))
    return source[top : top + rows, left : left + columns]


def _pasted(source: Pixels, patch: Pixels, middle: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """The source with ``patch`` over it, moved into the image if it juts out, and uint8 (H, W) {0, 1}: where it is."""
    patch = patch[: source.shape[0], : source.shape[1]]
    rows, columns = patch.shape[:2]
    top = min(max(middle[0] - rows // 2, 0), source.shape[0] - rows)
    left = min(max(middle[1] - columns // 2, 0), source.shape[1] - columns)
    image, place = source.copy(), np.zeros(source.shape[:2], np.uint8)
    image[top : top + rows, left : left + columns] = patch
    place[top : top + rows, left : left + columns] = 1
    return image, place


def _rounded(values: npt.NDArray[np.float32]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
