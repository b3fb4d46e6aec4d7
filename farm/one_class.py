"""Two small one-class detectors: normal photographs in, anomaly scores of photographs out. No defect is ever learned.

``PatchCore`` (Roth et al. 2022, arXiv 2106.08265): a bank of the normals' patches; an image scores as its patch that
lies farthest from the bank. Here: EfficientNet-Lite0 (ImageNet) at strides 8 and 16, 3 x 3 means, the coarse map
enlarged, both side by side; the plain maximum, without the paper's re-weighting.

``Gaussian`` (Rippel et al. 2020, arXiv 2005.14140): Mahalanobis distance of averaged features of strides 8, 16 and 32,
their covariance shrunk as Ledoit and Wolf (2004) do.

P = patches of an image, C = channels of a patch, D = channels of an averaged image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from farm.ids import generator
from farm.pretrained import efficientnet_lite0_features, scale_input

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

SIZE_PX = 224
_STRIDES = (2, 3, 4)  # strides 8, 16 and 32 with 40, 112 and 320 channels
_POOL = 16384  # patches among which a coreset is sought: an even draw where there are more
LEAST_SHARE = 0.01  # of the identity in a covariance: two images alone would leave it without an inverse
SMOOTH = 56  # the paper smooths maps of 224 pixels with a sigma of 4
_PROJECTED = 64  # dimensions in which it is sought (Roth et al. section 3.2)


@dataclass(frozen=True)
class Views:
    """What the network sees of B images."""

    patches: Vectors  # (B, P, C)
    means: Vectors  # (B, D)

    def of(self, rows: npt.NDArray[np.int64] | slice) -> "Views":
        """Those of some images."""
        return Views(self.patches[rows], self.means[rows])


class Encoder:
    """Images uint8 (B, H, W, 3) -> ``Views``, squashed to ``size_px`` first; row i depends on image i alone."""

    def __init__(self, size_px: int = SIZE_PX, batch_size: int = 4) -> None:
        self._size, self._batch_size = size_px, batch_size
        self._network = efficientnet_lite0_features(_STRIDES).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: Pixels) -> Views:
        """Batches are padded to one size inside."""
        found = []
        for start in range(0, len(images), self._batch_size):
            rows = np.minimum(np.arange(start, start + self._batch_size), len(images) - 1)
            seen = self._see(torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float())
            found.append([part[: len(images) - start].numpy() for part in seen])
        return Views(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _see(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        size = (self._size, self._size)
        resized = F.interpolate(pixels_BCHW, size, mode="bilinear", antialias=True, align_corners=False)
        levels = self._network(scale_input(resized))
        fine, coarse = (F.avg_pool2d(level, 3, 1, 1, count_include_pad=False) for level in levels[:2])
        coarse = F.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
        patches = torch.cat([fine, coarse], dim=1).flatten(2).transpose(1, 2)
        return patches.contiguous(), torch.cat([level.mean((2, 3)) for level in levels], dim=1)


class PatchCore:
    """Distance of an image's strangest patch to the nearest patch of the normals."""

    def __init__(self, see: Callable[[Pixels], Views], bank: int = 2048, seed: int = 0) -> None:
        """``bank`` is how many patches are kept at most; ``seed`` decides where their choice starts."""
        self._see, self._size, self._seed = see, bank, seed
        self._bank, self._owners = torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64)

    def fit(self, images: Pixels) -> "PatchCore":
        """Learn the normals (N, H, W, 3)."""
        return self.fit_views(self._see(images))

    def fit_views(self, normals: Views) -> "PatchCore":
        """The same from what the network saw of them."""
        count, each, _ = normals.patches.shape
        flat = normals.patches.reshape(count * each, -1)
        kept = coreset(flat, self._size, self._seed)
        self._bank, self._owners = torch.from_numpy(flat[kept]), torch.from_numpy(kept // each)
        return self

    def scores(self, images: Pixels) -> Scores:
        """(B,) of images (B, H, W, 3); higher is stranger."""
        return self.scores_of(self._see(images))

    def scores_of(self, views: Views) -> Scores:
        """The same from what the network saw of them."""
        return np.array([_farthest(patches, self._bank) for patches in views.patches])

    def maps(self, images: Pixels) -> tuple[Vectors, Vectors]:
        """Distances of the patches, scaled up to (B, H, W) (bilinear, then a Gaussian of 1/56 of H as in section 4.1
        of the paper), and the scores (B,), both float32.
        """
        views = self._see(images)
        size = images.shape[1:3]
        maps = [_scaled(_distances(patches, self._bank), size) for patches in views.patches]
        return np.stack(maps), self.scores_of(views).astype(np.float32)

    def left_out(self, normals: Views) -> Scores:
        """(N,): each fitted image against the patches of the others. ``normals`` are those of ``fit_views``, N > 1.

        Exactly leave-one-out while the bank is whole. Of a coreset, whose patches stand for their neighbours too, an
        image misses a little more than its own, so that scores are slightly high.
        """
        return np.array(
            [_farthest(patches, self._bank[self._owners != row]) for row, patches in enumerate(normals.patches)]
        )


def coreset(points: Vectors, size: int, seed: int) -> npt.NDArray[np.int64]:
    """Sorted indices of at most ``size`` points (N, C) that cover the others: the farthest from those chosen, again
    and again (Roth et al. algorithm 1), by distances in a seeded random projection. All where there are no more.
    """
    if len(points) <= size:
        return np.arange(len(points))
    rng = generator(seed, "patchcore/coreset")
    pool = np.arange(len(points))
    if len(points) > _POOL:
        pool = np.sort(rng.choice(len(points), _POOL, replace=False))
    projection = rng.standard_normal((points.shape[1], _PROJECTED), dtype=np.float32) / _PROJECTED**0.5
    near = torch.from_numpy(points[pool] @ projection)
    chosen = [int(rng.integers(len(pool)))]
    nearest = (near - near[chosen[0]]).square().sum(1)
    while len(chosen) < min(size, len(pool)):
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (near - near[chosen[-1]]).square().sum(1))
    return np.unique(pool[chosen])


def _farthest(patches_PC: Vectors, bank: Tensor) -> float:
    """max over patches of the distance to the nearest of ``bank``."""
    return float(_distances(patches_PC, bank).max())


def _distances(patches_PC: Vectors, bank: Tensor) -> Tensor:
    """(P,) distance of each patch to the nearest of ``bank``."""
    patches = torch.from_numpy(patches_PC)
    products = torch.addmm(bank.square().sum(1), patches, bank.T, alpha=-2)
    squares = products.amin(1) + patches.square().sum(1)
    return squares.clamp(min=0).sqrt()


def _scaled(distances_P: Tensor, size: tuple[int, ...]) -> Vectors:
    side = math.isqrt(len(distances_P))
    grid = distances_P.reshape(1, 1, side, side)
    large = F.interpolate(grid, size, mode="bilinear", align_corners=False)[0, 0].numpy()
    return np.asarray(cv2.GaussianBlur(large, (0, 0), size[0] / SMOOTH), np.float32)


class Gaussian:
    """Mahalanobis distance of an image's averaged features to those of the normals; Euclidean where N = 1."""

    def __init__(self, see: Callable[[Pixels], Views]) -> None:
        self._see = see
        self._mean: npt.NDArray[Any] = np.zeros(0)
        self._root: npt.NDArray[Any] = np.zeros((0, 0))

    def fit(self, images: Pixels) -> "Gaussian":
        """Learn the normals (N, H, W, 3)."""
        return self.fit_views(self._see(images))

    def fit_views(self, normals: Views) -> "Gaussian":
        """The same from what the network saw of them."""
        means = normals.means.astype(np.float64)
        self._mean = means.mean(axis=0)
        self._root = np.linalg.cholesky(shrunk_covariance(means))
        return self

    def scores(self, images: Pixels) -> Scores:
        """(B,) of images (B, H, W, 3); higher is stranger."""
        return self.scores_of(self._see(images))

    def scores_of(self, views: Views) -> Scores:
        """The same from what the network saw of them."""
        return np.array([np.linalg.norm(np.linalg.solve(self._root, row - self._mean)) for row in views.means])


def shrunk_covariance(x_ND: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(D, D): r m I + (1 - r) S, m = tr(S) / D, with the r of Ledoit and Wolf (2004) Eq. (14); identity without spread.

    r = b^2 / d^2 within [LEAST_SHARE, 1], d^2 = |S - m I|^2, b^2 = (1/N^2) sum_k |x_k x_k^T - S|^2, Frobenius norms,
    x about its mean.
    """
    count, size = x_ND.shape
    x = x_ND - x_ND.mean(axis=0)
    s = x.T @ x / count
    level = float(np.trace(s)) / size
    if level <= np.finfo(np.float64).eps * float(np.square(x_ND).mean()):
        return np.eye(size)
    apart = float(np.square(s - level * np.eye(size)).sum())
    noise = (float(np.square(np.square(x).sum(axis=1)).sum()) / count - float(np.square(s).sum())) / count
    share = 1.0 if apart == 0 else min(1.0, max(LEAST_SHARE, noise / apart))
    return share * level * np.eye(size) + (1 - share) * s
