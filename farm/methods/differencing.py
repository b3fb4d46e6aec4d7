"""Where a translated photograph differs from its source: card 000 section 6 (arXiv 2512.23227 gives no way of its own).

align by phase correlation → match colours (an affine fit for each channel, on what changed least) →
d = 0.5 |Lab difference| + 0.5 feature distance → Gaussian → hysteresis threshold → cut the features' halo →
fill holes, drop specks.

The Lab difference is CIE 1976, of 100. The features are EfficientNet-Lite0's at strides 2, 4 and 8 in place of VGG's;
their distance at a place is |u - v| / 2 of channel vectors of length 1, so that it lies in 0..1 too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from farm.methods.refine import drop_specks, otsu
from farm.pretrained import efficientnet_lite0_features, scale_input

Pixels = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

NO_DEFECT, MISALIGNED = "no_visible_defect", "misaligned"
SIGMA_PX = 1.5  # smoothing of d
QUIET_SHARE = 0.8  # of the pixels: those that changed least tell colours and noise
NOISE_FACTOR = 4.0  # a defect stands above the quiet pixels' mean by this many of their standard deviations
LOW_TO_HIGH = 0.5
EDGE_HEIGHT, EDGE_REACH_PX = 0.5, 4  # an edge lies at half the height reached within so many pixels ...
LEAST_HEIGHT = 0.25  # ... and no pixel stays that differs less than this share of what is usual in its piece
LEAST_VISIBLE = 0.5 * 2.3 / 100  # a Lab difference of 2.3 is just noticeable (Mahy et al. 1994)
LEAST_SHIFT_PX = 0.25  # a smaller shift is left as it is, since moving pixels blurs them
FIT_SIGMA_PX = 2.0  # colours are compared on smoothed images: grain that was redrawn would flatten the fit
GAINS = (0.8, 1.25)  # of the colour match
_ECC_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-5)
_ECC_FILTER_PX = 5
_STRIDES = (0, 1, 2)  # indices of strides 2, 4 and 8


@dataclass(frozen=True)
class Difference:
    """What sets one image apart from its reference."""

    image: Pixels  # (H, W, 3) the image laid on its reference, colours matched
    mask: Pixels  # (H, W) in {0, 1}: where it differs
    shift_px: float  # by which it had moved
    objection: str  # "no_visible_defect", "misaligned" or ""


class Differencing:
    """Build once per worker, then call on many batches; row i of the result depends on row i of the inputs alone."""

    def __init__(self, align_px: float, min_area: float, device: str | torch.device = "cpu") -> None:
        """``align_px`` is the largest shift that is undone; ``min_area`` the least component, as share of the image."""
        self.align_px, self.min_area, self._device = align_px, min_area, device
        self._encoder = efficientnet_lite0_features(_STRIDES).requires_grad_(False).to(device)

    def __call__(self, images: Pixels, references: Pixels, allowed: Flags | None = None) -> list[Difference]:
        """(B, H, W, 3) uint8, twice -> B differences. What moved too far has an empty mask.

        ``allowed`` is bool (B, H, W): where a defect may be, the product; None = everywhere.
        """
        everywhere = np.ones(images.shape[:3], bool) if allowed is None else allowed
        shifts = [shift(image, reference) for image, reference in zip(images, references, strict=True)]
        laid = [self._laid(*row) for row in zip(images, references, shifts, strict=True)]
        features = self.feature_distance(np.stack(laid), references)
        return [self._found(*row) for row in zip(laid, references, shifts, features, everywhere, strict=True)]

    @torch.no_grad()
    def feature_distance(self, images: Pixels, references: Pixels) -> Reals:
        """(B, H, W) in 0..1: the mean of the three strides' distances, each enlarged to the image's size."""
        pixels = torch.from_numpy(np.concatenate([images, references])).permute(0, 3, 1, 2).to(self._device)
        levels = [_distance(level, images.shape[1:3]) for level in self._encoder(scale_input(pixels))]
        distances: Reals = torch.stack(levels).mean(dim=0).cpu().numpy()
        return distances

    def _laid(self, image: Pixels, reference: Pixels, moved: tuple[float, float]) -> Pixels:
        fits = LEAST_SHIFT_PX < math.hypot(*moved) <= self.align_px
        return matched(moved_back(image, moved) if fits else image, reference)

    def _found(
        self, image: Pixels, reference: Pixels, moved: tuple[float, float], features: Reals, allowed: Flags
    ) -> Difference:
        distance_px = math.hypot(*moved)
        if distance_px > self.align_px:
            return Difference(image, np.zeros(image.shape[:2], np.uint8), distance_px, MISALIGNED)
        colours = cv2.GaussianBlur(lab_difference(image, reference), (0, 0), SIGMA_PX)
        d = 0.5 * colours + 0.5 * cv2.GaussianBlur(features, (0, 0), SIGMA_PX)
        inside = framed(d.shape, moved)
        found = trimmed(hysteresis(d, threshold(d[inside])) & inside, colours)
        whole = ndimage.binary_fill_holes(found) & allowed
        mask = drop_specks(whole.astype(np.uint8), self.min_area * whole.size)
        return Difference(image, mask, distance_px, "" if mask.any() else NO_DEFECT)


def shift(image: Pixels, reference: Pixels) -> tuple[float, float]:
    """(x, y) in px by which ``image`` lies off ``reference``.

    Phase correlation (Kuglin and Hines 1975) tells where, ECC (Evangelidis and Psarakis 2008) to a fraction of a pixel.
    A shift that does not bring the images nearer to each other is none: grain that was redrawn, or a defect, can
    make the highest peak anywhere.
    """
    moved = _finer(image, reference, _peak(image, reference))
    inside = framed(image.shape, moved)
    if not inside.any():
        return 0.0, 0.0
    apart = [_unlike(one, reference)[inside].mean() for one in (moved_back(image, moved), image)]
    return moved if apart[0] < apart[1] else (0.0, 0.0)


def moved_back(image: Pixels, moved: tuple[float, float]) -> Pixels:
    """``image`` with the shift undone; what comes in from outside repeats its edge."""
    back = np.array([[1, 0, -moved[0]], [0, 1, -moved[1]]], np.float32)
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, back, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def framed(shape: tuple[int, ...], moved: tuple[float, float]) -> Flags:
    """bool (H, W): the pixels that are still the image's own after a shift is undone; all where it is left as it is."""
    inside = np.ones(shape[:2], bool)
    if math.hypot(*moved) <= LEAST_SHIFT_PX:
        return inside
    rows, columns = np.indices(shape[:2])
    x, y = columns + moved[0], rows + moved[1]
    return (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1)


def matched(image: Pixels, reference: Pixels) -> Pixels:
    """``image`` in the colours of ``reference``: gain and offset of each channel, fitted on the quiet pixels.

    The gain stays within ``GAINS``; three rounds, each leaving out the pixels that the last one explains worst.
    """
    x, y = (cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), FIT_SIGMA_PX) for pixels in (image, reference))
    gain, offset = np.ones(3, np.float32), np.zeros(3, np.float32)
    for _ in range(3):
        away = np.abs(gain * x + offset - y).max(axis=-1)
        quiet = away <= np.quantile(away, QUIET_SHARE)
        gain, offset = _line(x[quiet], y[quiet])
    return np.clip(np.rint(gain * image.astype(np.float32) + offset), 0, 255).astype(np.uint8)


def lab_difference(image: Pixels, reference: Pixels) -> Reals:
    """(H, W): the Euclidean distance in CIE L*a*b* (1976), over 100."""
    first, second = (cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for pixels in (image, reference))
    difference: Reals = np.linalg.norm(first - second, axis=-1).astype(np.float32) / np.float32(100)
    return difference


def threshold(d: Reals) -> float:
    """The high threshold of ``d`` (any shape): Otsu's, mean + 4 std of the quiet, or the least visible; the largest."""
    return max(otsu(d), sum(noise_of(d)), LEAST_VISIBLE)


def noise_of(d: Reals) -> tuple[float, float]:
    """The mean of the quiet pixels of ``d`` (any shape), and ``NOISE_FACTOR`` times their standard deviation."""
    quiet = d[d <= np.quantile(d, QUIET_SHARE)]
    return float(quiet.mean()), NOISE_FACTOR * float(quiet.std())


def hysteresis(d: Reals, high: float) -> Flags:
    """bool (H, W): the 8-connected pieces of d > high / 2 that reach above ``high`` somewhere (Canny 1986)."""
    _, pieces = cv2.connectedComponents((d > LOW_TO_HIGH * high).astype(np.uint8), connectivity=8)
    strong = np.unique(pieces[d > high])
    return np.isin(pieces, strong[strong > 0])


def trimmed(found: Flags, colours: Reals) -> Flags:
    """The pixels of each 8-connected piece whose own colours differ: without the halo of the features.

    Features spread a difference over their receptive field, and smoothing spreads a step: it is cut at half its height.
    What is usual in a piece is the mean weighted by itself, so that the halo counts for nothing.
    """
    _, pieces = cv2.connectedComponents(found.astype(np.uint8), connectivity=8)
    total = np.bincount(pieces.ravel(), colours.ravel())
    usual = np.bincount(pieces.ravel(), colours.ravel() ** 2) / np.maximum(total, 1e-12)
    ground, spread = noise_of(colours)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_REACH_PX + 1, 2 * EDGE_REACH_PX + 1))
    edge = ground + EDGE_HEIGHT * (cv2.dilate(colours, disc) - ground)
    kept: Flags = found & (colours >= np.maximum(edge, LEAST_HEIGHT * usual[pieces])) & (colours > ground + spread)
    return kept


def _distance(maps_BCHW: Tensor, size: Sequence[int]) -> Tensor:
    """(B/2, H, W): half the distance of the unit channel vectors of the first and the second half of a batch."""
    first, second = F.normalize(maps_BCHW.float(), dim=1, eps=1e-3).chunk(2)
    apart = (first - second).norm(dim=1, keepdim=True) / 2
    return F.interpolate(apart, tuple(size), mode="bilinear", align_corners=False)[:, 0]


def _line(x: Reals, y: Reals) -> tuple[Reals, Reals]:
    """Least squares y = gain x + offset for each column of (N, 3), the gain held within ``GAINS``."""
    middle, level = x.mean(axis=0), y.mean(axis=0)
    spread = ((x - middle) ** 2).mean(axis=0)
    slope = ((x - middle) * (y - level)).mean(axis=0) / np.maximum(spread, 1e-6)
    gain: Reals = np.where(spread > 1e-6, np.clip(slope, *GAINS), 1.0).astype(np.float32)
    return gain, (level - gain * middle).astype(np.float32)


def _peak(image: Pixels, reference: Pixels) -> tuple[float, float]:
    """(x, y) of the highest peak of the phase correlation, of two luminances under a Hann window."""
    first, second = _luminance(reference), _luminance(image)
    (x, y), _ = cv2.phaseCorrelate(first, second, cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F))
    return float(x), float(y)


def _finer(image: Pixels, reference: Pixels, moved: tuple[float, float]) -> tuple[float, float]:
    """The shift near ``moved`` at which two luminances correlate best; ``moved`` itself where no such is found."""
    warp = np.array([[1, 0, moved[0]], [0, 1, moved[1]]], np.float32)
    try:
        _, warp = cv2.findTransformECC(
            _luminance(reference), _luminance(image), warp, cv2.MOTION_TRANSLATION, _ECC_STOP, None, _ECC_FILTER_PX
        )
    except cv2.error:  # flat images, or no overlap: nothing correlates
        return moved
    x, y = float(warp[0, 2]), float(warp[1, 2])
    return (x, y) if math.hypot(x - moved[0], y - moved[1]) < 1 else moved


def _unlike(image: Pixels, reference: Pixels) -> Reals:
    """(H, W) absolute difference of smoothed luminances, 0..255."""
    first, second = (cv2.GaussianBlur(_luminance(pixels), (0, 0), SIGMA_PX) for pixels in (image, reference))
    return np.abs(first - second)


def _luminance(pixels: Pixels) -> Reals:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)
