"""The score by which the best image is chosen: a tower that did not lead it, and how its latents lie (card 002, 4.3).

    score(x) = cos(J_I(x), t) - beta W2(N(m_x, s_x), N(m_r, s_r))

t is J_T(P*) where the judging tower J reads text. Where it does not (EfficientNet-Lite0, DINO), t is the mean of
J_I over the real normals, at length 1. (m_x, s_x) are the mean and spread of each channel of the image's latent over
its own places, (m_r, s_r) those over the places of all normals; W2 is divided by the root of the number of channels.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from farm.embedders import Embedder
from farm.variational import gaussian
from farm.variational.gaussian import Diagonal

Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


@runtime_checkable
class ReadsText(Protocol):
    """An embedder with a text tower."""

    def texts(self, sentences: Sequence[str]) -> Vectors:
        """(T, D) unit vectors."""


class Judge:
    """Scores of candidates; higher is better."""

    def __init__(self, tower: Embedder, target_D: Vectors, normals: Diagonal, beta: float) -> None:
        """``normals``: ``gaussian.pooled`` of the normals' latents."""
        self._tower, self._target, self._normals, self._beta = tower, target_D, normals, beta

    def __call__(self, images: Pixels, z_BCHW: Tensor) -> Scores:
        """(B,) of uint8 (B, H, W, 3) and their latents; not a number where a latent is not finite."""
        cosines = self._tower(images).astype(np.float64) @ self._target.astype(np.float64)
        apart = gaussian.w2(gaussian.channels(z_BCHW.detach()), self._normals)
        scores: Scores = cosines - self._beta * apart.double().cpu().numpy()
        return scores


def target(tower: Embedder, prompt: str, normals: Pixels) -> Vectors:
    """t (D,): the prompt's vector, or the mean of the normals' where the tower has no text."""
    if isinstance(tower, ReadsText):
        vector: Vectors = tower.texts([prompt])[0]
        return vector
    mean = tower(normals).astype(np.float64).mean(axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)
