"""The hint of card 004 section 4: background 0, object 0.5, defect 1; and where the object is (section 3).

The foreground predictor follows CPR as the card tells it, on EfficientNet-Lite0: features of stride 4 at 320 px, two
clusters, the one that dominates the border is background, what else lies in the central window is foreground, and a
linear discriminant (Fisher 1936) of the two scores every place. Fitted on normals once; textures are all foreground.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from farm.images import Pixels

Reals = npt.NDArray[np.float64]

OBJECT = 0.5
SIDE_PX, STRIDE_INDEX = 320, 1  # features of stride 4
BORDER_ROWS = 3  # of the feature map
WINDOW = 0.4  # share of each side
FEATURES = 50_000  # at most, for the fit
TAIL = 1.0  # per cent of the scores clipped at each end
LLOYD, BATCH = 30, 8


def trimap(mask: Pixels, part: npt.NDArray[np.bool_]) -> Tensor:
    """float32 (B, 3, H, W) in {0, 0.5, 1} of the defect (B, H, W) in {0, 1} and the foreground, bool (B, H, W)."""
    levels = np.where(mask > 0, 1.0, np.where(part, OBJECT, 0.0)).astype(np.float32)
    return torch.from_numpy(levels)[:, None].repeat(1, 3, 1, 1)


class Foreground:
    """Where the product is: places whose score on ``direction`` is past the middle of the range of scores."""

    def __init__(self, direction: Reals, low: float, high: float) -> None:
        self.direction, self.low, self.high = direction, low, high

    def __call__(self, images: Pixels) -> npt.NDArray[np.bool_]:
        """bool (B, S, S) of uint8 (B, S, S, 3), holes filled; row i depends on image i alone."""
        span = max(self.high - self.low, 1e-12)
        scores = np.clip((features(images) @ self.direction - self.low) / span, 0, 1)
        wide = F.interpolate(torch.from_numpy(scores)[:, None], images.shape[1:3], mode="bilinear")[:, 0].numpy()
        return np.stack([ndimage.binary_fill_holes(score > 0.5) for score in wide])

    def tensors(self) -> dict[str, Tensor]:
        """What ``read_foreground`` reads."""
        bounds = torch.tensor([self.low, self.high], dtype=torch.float64)
        return {"foreground.direction": torch.from_numpy(self.direction), "foreground.range": bounds}


def read_foreground(tensors: Mapping[str, Tensor]) -> Foreground | None:
    """The predictor among an adapter's tensors; None where it has none (a texture)."""
    if "foreground.direction" not in tensors:
        return None
    low, high = tensors["foreground.range"].tolist()
    return Foreground(tensors["foreground.direction"].double().numpy(), low, high)


def fit_foreground(images: Pixels) -> Foreground | None:
    """The predictor for the product on ``images`` (N, S, S, 3); None where nothing stands out from the border."""
    maps = features(images)
    side = maps.shape[1]
    background = two_means(_some(maps.reshape(-1, maps.shape[-1])))
    is_second = np.square(maps[..., None, :] - background).sum(-1).argmin(-1)
    edge = np.ones((side, side), bool)
    edge[BORDER_ROWS:-BORDER_ROWS, BORDER_ROWS:-BORDER_ROWS] = False
    ground = is_second == round(float(is_second[:, edge].mean()))
    margin = round(side * (1 - WINDOW) / 2)
    window = np.zeros((side, side), bool)
    window[margin : side - margin, margin : side - margin] = True
    outer, inner = _some(maps[ground]), _some(maps[~ground & window])
    if min(len(outer), len(inner)) <= maps.shape[-1]:
        return None
    direction = discriminant(outer, inner)
    low, high = np.percentile(maps @ direction, (TAIL, 100 - TAIL))
    return Foreground(direction, float(low), float(high))


def two_means(points: Reals) -> Reals:
    """(2, D): the means of two clusters of (N, D) points: Lloyd's algorithm from the two sides of the first axis."""
    centred = points - points.mean(0)
    axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    second = centred @ axis > 0
    means = np.stack([points.mean(0), points.mean(0)])
    for _ in range(LLOYD):
        if second.all() or not second.any():
            break
        means = np.stack([points[~second].mean(0), points[second].mean(0)])
        nearest = np.square(points[:, None] - means).sum(-1).argmin(1) == 1
        if (nearest == second).all():
            break
        second = nearest
    return means


def discriminant(outer: Reals, inner: Reals) -> Reals:
    """Fisher's direction (D,): larger scores for ``inner`` than for ``outer``, (N, D) each."""
    within = np.cov(outer.T) + np.cov(inner.T)
    ridge = 1e-6 * np.trace(within) / len(within) * np.eye(len(within))
    return np.linalg.solve(within + ridge, inner.mean(0) - outer.mean(0))


@torch.no_grad()
def features(images: Pixels) -> Reals:
    """(B, 80, 80, 24) of uint8 (B, S, S, 3), in batches padded to one size."""
    from farm.pretrained import scale_input

    found = []
    for start in range(0, len(images), BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), len(images) - 1)
        pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float()
        wide = F.interpolate(pixels, (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True)
        found.append(_encoder()(scale_input(wide))[0][: len(images) - start].permute(0, 2, 3, 1).double().numpy())
    return np.concatenate(found)


@cache
def _encoder() -> nn.Module:
    from farm.pretrained import efficientnet_lite0_features  # seconds of imports that textures do not need

    return efficientnet_lite0_features((STRIDE_INDEX,))


def _some(points: Reals) -> Reals:
    """At most ``FEATURES`` rows of ``points``, evenly spaced."""
    return points[:: max(1, -(-len(points) // FEATURES))]
