"""Rule-based synthesis (card 000 section 4): no network, hundreds a second a core.

Whatever a recipe proposes, the label is the truth about pixels: 1 where the target mask allows and the mean change of
the three channels is above 1/255. All other pixels are the source's, byte for byte.
"""

import cv2
import numpy as np
import numpy.typing as npt

from farm.config import RulesConfig, Run
from farm.errors import FarmError
from farm.ids import generator
from farm.images import Pixels
from farm.methods.base import Made, Request
from farm.methods.rule_recipes import RECIPES, Texture

NO_DEFECT = "no_visible_defect"
LEAST_CHANGE = 3  # summed over three channels: a mean change above 1 of 255


class Rules:
    """Paste, blend or spoil inside the target mask; the recipe of each row says how."""

    needs_trajectory = False

    def __init__(self, config: RulesConfig, run: Run, texture: Texture | None = None) -> None:  # noqa: ARG002
        """``texture(seed, size_px)`` is the bank of foreign material; by default the procedural surfaces."""
        self.recipes = config.recipes
        self.texture = texture or _procedural_texture

    def __call__(self, request: Request) -> Made:
        """Make all rows. A row whose recipe is not configured, or whose mask is empty, says so in ``error``.

        ``evaluations`` and ``background_error`` are 0: no network is asked, and nothing is painted outside the mask.
        """
        count = len(request.seed)
        image, label = request.source.copy(), np.zeros_like(request.mask)
        errors, objections = [""] * count, [""] * count
        for row in range(count):
            source, mask = request.source[row], request.mask[row]
            try:
                proposed = self._propose(source, mask, int(request.seed[row]), request.recipe[row])
            except (FarmError, ValueError, cv2.error) as error:
                errors[row] = str(error)
                continue
            image[row], label[row] = kept_inside(source, proposed, mask)
            objections[row] = "" if label[row].any() else NO_DEFECT
        return Made(
            image, label, np.zeros(count, np.int32), np.zeros(count, np.float32), tuple(objections), tuple(errors)
        )

    def _propose(self, source: Pixels, mask: Pixels, seed: int, recipe: str) -> Pixels:
        if recipe not in self.recipes:
            raise ValueError(f"recipe '{recipe}' is not one of this method's: {', '.join(self.recipes)}")
        if not mask.any():
            raise ValueError(f"recipe '{recipe}': the target mask is empty")
        return RECIPES[recipe](source, mask, generator(seed, f"rules/{recipe}"), self.texture)


def kept_inside(source: Pixels, proposed: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
    """What of ``proposed`` (H, W, 3) counts: the image, and the label (H, W) in {0, 1} of its changed pixels."""
    change: npt.NDArray[np.int32] = np.abs(proposed.astype(np.int16) - source).sum(axis=-1, dtype=np.int32)
    label = (change > LEAST_CHANGE) & (mask > 0)
    return np.where(label[..., None], proposed, source), label.astype(np.uint8)


def _procedural_texture(seed: int, size_px: int) -> Pixels:
    from farm.surfaces import texture  # seconds of imports that only the recipe ``perlin`` needs

    return np.asarray(texture(seed, size_px), np.uint8)
