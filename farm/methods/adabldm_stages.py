"""The three stages of sampling of card 004 section 5 (Li et al., arXiv 2402.19330): free, latent and image editing.

    i = 0 .. T-1 counts executed steps, from the noisiest level down
    free      nothing is edited
    latent    before the network: z <- q(z_OK, t) outside the dilated latent mask, fresh noise at each step
    image     after it: x = D(predicted z_0), x <- x_OK outside the mask, z <- q(E(x), level)

With ``T = 50`` the paper has 20, 25 and 5 steps; the released code 26, 20 and 5, with both edits at step 45.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from farm.diffusion.ddim import Predict, add_noise, clean, move
from farm.diffusion.latents import blend
from farm.diffusion.schedule import Level

FREE_PERCENT = {"paper": 40, "code": 52}
IMAGE_PERCENT = 10

Noise = Callable[[str, int], Tensor]  # purpose, step -> standard normal (B, C, h, w)


@dataclass(frozen=True)
class Stages:
    """Which of the T executed steps edit what; the steps before ``latent`` are free."""

    steps: int
    latent: range
    image: range


def plan_stages(preset: Literal["paper", "code"], steps: int) -> Stages:
    """The stages of ``preset`` as shares of ``steps``, rounded half up."""
    free = (FREE_PERCENT[preset] * steps + 50) // 100
    last = steps - max(1, (IMAGE_PERCENT * steps + 50) // 100)
    overlap = 1 if preset == "code" else 0
    return Stages(steps, range(free, last + overlap), range(last, steps))


def grow(m: Tensor, cells: int) -> Tensor:
    """A latent mask, bool (B, 1, h, w), dilated by a square of 2 ``cells`` + 1."""
    return F.max_pool2d(m.float(), 2 * cells + 1, stride=1, padding=cells) > 0


@dataclass(frozen=True)
class Editor:
    """What puts the photograph back outside the mask, in latents and in pixels."""

    x_ok: Tensor  # (B, 3, H, W) in [-1, 1]
    z_ok: Tensor  # (B, C, h, w)
    mask: Tensor  # bool (B, 1, H, W), undilated
    cells: Tensor  # bool (B, 1, h, w), the dilated latent mask
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    noise: Noise
    renoise_to: Literal["prev", "cur"]

    def latent(self, z: Tensor, here: Level, step: int) -> Tensor:
        """Stage 2: ``z`` inside ``cells``, the noised photograph outside."""
        return blend(add_noise(self.z_ok, self.noise("latent", step), here.abar), z, self.cells)

    def pixels(self, z0: Tensor) -> Tensor:
        """Stage 3's composite: the decoded image, cut to [-1, 1], inside the mask; the photograph outside."""
        return blend(self.x_ok, self.decode(z0).clamp(-1, 1), self.mask)

    def image(self, z0: Tensor, here: Level, there: Level, step: int) -> Tensor:
        """Stage 3: the composite's latent, noised to the level of the next step; the last one is left clean.

        The released code noises it to the level just left (``renoise_to: cur``), so that its result is noisy.
        """
        edited = self.encode(self.pixels(z0))
        if self.renoise_to == "cur":
            return add_noise(edited, self.noise("image", step), here.abar)
        return edited if there.time < 0 else add_noise(edited, self.noise("image", step), there.abar)


def sample_staged(predict: Predict, start: Tensor, levels: Sequence[Level], stages: Stages, editor: Editor) -> Tensor:
    """Denoise ``start`` down the ``stages.steps`` + 1 ``levels``, which ascend in noise; DDIM between edits."""
    z = start
    for step in range(stages.steps):
        here, there = levels[stages.steps - step], levels[stages.steps - step - 1]
        if step in stages.latent:
            z = editor.latent(z, here, step)
        eps = predict(z, here)
        if step in stages.image:
            z = editor.image(clean(z, eps, here.abar), here, there, step)
        else:
            z = move(z, eps, here.abar, there.abar)
    return z
