"""What is refused though its score is good (card 002 section 5): what a detector would call an anomaly, and copies.

Anomaly: a PatchCore that knows the real normals alone scores the image above the ``max_anomaly_quantile`` of their
leave-one-out scores. A single normal has its light changes (``light``) beside it, left out one by one.
Copy: the LPIPS-style distance to the nearest normal is below ``min_perceptual``. It is measured for the NEAREST few
by thumbnail only: what is that close has nearly the same thumbnail.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from farm.config import VariationalConfig
from farm.diffusion.latents import to_unit
from farm.images import resize_image
from farm.one_class import Encoder, PatchCore
from farm.variational.perceptual import distance

Pixels = npt.NDArray[np.uint8]

ANOMALY, COPY = "would_be_an_anomaly", "copy"
NEAREST = 8
THUMBNAIL_PX = 16


class AnomalyGate:
    """Whether a detector of the real normals would raise an alarm."""

    def __init__(self, normals: Pixels, quantile: float, see: Encoder | None = None) -> None:
        """``normals`` (N, H, W, 3), N > 1; of one photograph give its light changes too."""
        see = Encoder() if see is None else see
        views = see(normals)
        self._detector = PatchCore(see).fit_views(views)
        scores = self._detector.left_out(views)
        self.threshold = float(np.quantile(scores, quantile, method="higher"))

    def __call__(self, image: Pixels) -> bool:
        """For one image (H, W, 3)."""
        return float(self._detector.scores(image[None])[0]) > self.threshold


class CopyGate:
    """Whether an image is one of the normals again."""

    def __init__(self, normals: Pixels, least: float, looks: Callable[[Tensor], Tensor], device: torch.device) -> None:
        """``least`` is the smallest distance that is no copy; ``looks`` is ``perceptual.Looks`` on ``device``."""
        self._normals, self._least, self._looks, self._device = normals, least, looks, device
        self._thumbnails = np.stack([_thumbnail(image) for image in normals])

    def __call__(self, image: Pixels) -> bool:
        """For one image (H, W, 3)."""
        return self.nearest(image) < self._least

    @torch.no_grad()
    def nearest(self, image: Pixels) -> float:
        """LPIPS-style distance to the nearest normal."""
        apart = np.square(self._thumbnails - _thumbnail(image)).sum(axis=(1, 2, 3))
        rows = np.argsort(apart, kind="stable")[:NEAREST]
        looks = self._looks(to_unit(np.concatenate([image[None], self._normals[rows]])).to(self._device))
        return float(distance(looks[1:], looks[:1]).min())


class Gates:
    """Both gates; the first that objects names the reason."""

    def __init__(
        self,
        normals: Pixels,
        changed: Pixels,
        config: VariationalConfig,
        looks: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> None:
        """``changed``: light changes of the photograph where there is only one, else of no length."""
        self._anomaly = AnomalyGate(np.concatenate([normals, changed]), config.max_anomaly_quantile)
        self._copy = CopyGate(normals, config.min_perceptual, looks, device)

    def objection(self, image: Pixels) -> str:
        """``would_be_an_anomaly``, ``copy`` or "" for one image (H, W, 3)."""
        if self._anomaly(image):
            return ANOMALY
        return COPY if self._copy(image) else ""


def _thumbnail(image: Pixels) -> npt.NDArray[np.float32]:
    return resize_image(image, THUMBNAIL_PX).astype(np.float32)
