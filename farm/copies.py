"""Generated images that are a photograph: a few-shot original learned by heart, or a test photograph that leaked.

An image is a copy of a photograph when its cosine is at least ``floor`` and above that of every normal: normals are
other photographs for certain, so what is no nearer than they are shows only that the parts look alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.index import NormalIndex

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

MEMORISED = "memorised"  # a copy of a few-shot photograph
LEAKED = "leaked"  # a copy of a test photograph
COPIED_NORMAL = "copied_normal"  # a generated normal that is one of the normals
SHOWN = 20  # pairs that an audit lists


@dataclass(frozen=True)
class Copies:
    """The photographs of one split that nothing may copy, and from which cosine on something does.

    ``highest`` is the largest cosine of a normal to one of them.
    """

    index: NormalIndex
    floor: float
    highest: float

    @classmethod
    def calibrated(cls, index: NormalIndex, normals: NormalIndex, floor: float) -> "Copies":
        """The bar for copies of ``index``, from the nearness of the ``normals`` to it; of normals to each other."""
        near = normals.nearest_others() if index is normals else index.nearest(normals.vectors)[0]
        return cls(index, floor, float(near.max(initial=-1.0)))

    def found(self, vectors: Vectors) -> tuple[npt.NDArray[np.bool_], list[str]]:
        """Which of (B, D) unit vectors are copies, (B,), and the id of the photograph that each is nearest to."""
        cosines, ids = self.index.nearest(vectors)
        return (cosines >= self.floor) & (cosines > self.highest), ids


def audit(one: NormalIndex, other: NormalIndex, floor: float) -> list[tuple[str, str, float]]:
    """Pairs of photographs of two splits that are too alike, the most alike first: (id, id, cosine).

    Of each photograph of ``one`` only its nearest of ``other`` is looked at; at most ``SHOWN`` pairs.
    """
    cosines, ids = other.nearest(one.vectors)
    alike = [(one.ids[row], ids[row], float(cosines[row])) for row in np.flatnonzero(cosines >= floor)]
    return sorted(alike, key=lambda pair: (-pair[2], pair[0]))[:SHOWN]


def originals(
    floor: float, normals: NormalIndex, shots: tuple[Sequence[str], Vectors], test: tuple[Sequence[str], Vectors]
) -> dict[str, Copies]:
    """What is held against images, by reason; a split without photographs is left out."""
    splits = ((LEAKED, test), (MEMORISED, shots))
    indices = {reason: NormalIndex(ids, vectors, normals.threads) for reason, (ids, vectors) in splits if len(ids)}
    if len(normals) > 1:
        indices[COPIED_NORMAL] = normals
    return {reason: Copies.calibrated(index, normals, floor) for reason, index in indices.items()}
