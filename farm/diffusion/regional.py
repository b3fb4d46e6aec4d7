"""Two samplers that change one region of an inverted photograph and leave the rest (card 001 section 5).

``replay`` overwrites the background with the stored inverted latent at every level: one defect pass a step, and the
background is z_0 exactly, whatever the network. ``two_pass`` is the paper's (arXiv 2411.16767): the background has
its own prediction from z^m, which cannot see the defect, so its path depends on nothing but itself and the hole
filler. ``m`` is bool (B, 1, h, w), true where the defect is; guidance belongs inside ``defect`` and nowhere else.
"""

from collections.abc import Sequence

from torch import Tensor

from farm.diffusion.ddim import Predict, View, add_noise, invert, sample
from farm.diffusion.latents import blend, fill_hole
from farm.diffusion.schedule import Level


def first_latent(z0: Tensor, noise: Tensor, level: Level, whole_way: bool) -> Tensor:
    """What the defect starts from: pure noise at the end of the schedule, else ``z0`` noised to ``level``."""
    return noise if whole_way else add_noise(z0, noise, level.abar)


def replay(defect: Predict, trajectory: Tensor, start: Tensor, m: Tensor, levels: Sequence[Level]) -> Tensor:
    """z_0 with a new defect in ``m``; ``trajectory`` (B, len(levels), C, h, w) gives all the rest, bit for bit."""
    return sample(defect, start, levels, hold=lambda z, index: blend(trajectory[:, index], z, m))


def hole_view(m: Tensor, filler: Tensor) -> View:
    """z -> z^m: the content of the hole is replaced by ``filler`` (zeros, or one draw of noise) at its level."""
    return lambda z, level: fill_hole(z, m, filler, level.abar)


def two_pass(
    background: Predict,
    defect: Predict,
    z0: Tensor,
    start: Tensor,
    m: Tensor,
    levels: Sequence[Level],
    view: View,
    fixed_point: int,
) -> Tensor:
    """z_0 with a new defect in ``m``; the background is inverted and denoised by ``background`` through ``view``."""
    inverted = invert(background, z0, levels, fixed_point, view)[:, -1]

    def predict(z: Tensor, level: Level) -> Tensor:
        return blend(background(view(z, level), level), defect(z, level), m)

    return sample(predict, blend(inverted, start, m), levels)
