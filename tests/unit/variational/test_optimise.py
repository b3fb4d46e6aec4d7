"""Card 002 section 4.3 on a toy: an "autoencoder" whose latent is a colour, and a guide that sees the mean colour."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from farm.config import VariationalConfig
from farm.diffusion.latents import row_noise, to_pixels
from farm.variational import gaussian
from farm.variational.gaussian import Diagonal
from farm.variational.optimise import Led, Objective, lead

B, SIZE = 16, 8
WANTED = torch.tensor([0.6, -0.5, 0.2])


class MeanColour:
    """Unit vectors of (r, g, b, 1): they agree with ``WANTED``'s only where the mean colour does."""

    size = (SIZE, SIZE)

    def __call__(self, unit_BCHW: Tensor) -> Tensor:
        return vector(unit_BCHW.mean((2, 3)))


def vector(colour_B3: Tensor) -> Tensor:
    return F.normalize(torch.cat([colour_B3, torch.ones(len(colour_B3), 1)], dim=1), dim=1)


def decode(z: Tensor) -> Tensor:
    return z.expand(-1, 3, SIZE, SIZE)


def normals() -> Diagonal:
    return Diagonal(torch.tensor([0.1, 0.0, -0.1])[:, None, None], torch.full((3, 1, 1), 0.04))


def objective(**settings: float) -> Objective:
    chosen = {"perceptual_weight": 0, "image_weight": 0, "cutouts": 2, "iterations": 200, "score_every": 20}
    config = VariationalConfig(candidates=B, **{**chosen, **settings})  # type: ignore[arg-type]
    text = vector(WANTED[None])[0]
    return Objective(MeanColour(), lambda x: x.flatten(1), text, text, normals(), torch.zeros(1, 3 * SIZE**2), config)


def nearness(images: npt.NDArray[np.uint8], z: Tensor) -> npt.NDArray[np.float64]:
    del z
    colours = images.mean((1, 2)) / 127.5 - 1
    return -np.square(colours - np.array([0.3, -0.2, 0.0])).sum(1)  # not what the text wants


def walk(seed: int = 0, judge: object = nearness, **settings: float) -> tuple[Tensor, Led]:
    z = normals().sample(row_noise([seed], "toy", (B, 3, 1, 1))[0])
    return z, lead(z, decode, objective(**settings), judge, np.random.default_rng(seed))  # type: ignore[arg-type]


def variance(z: Tensor) -> float:
    return float((gaussian.fit(z).variance / normals().variance).mean())


# card 002, 7.4
@pytest.mark.parametrize("seed", range(3))
def test_text_alone_collapses_the_variance_and_the_kl_term_keeps_it(seed: int) -> None:
    first, collapsed = walk(seed, variance_weight=0)
    _, kept = walk(seed)
    assert 0.5 < variance(first) < 1.5
    assert variance(collapsed.z) < 0.05
    assert 0.5 <= variance(kept.z) <= 1.5


# card 002, 7.6
def test_the_text_term_decreases_and_the_best_image_seen_is_returned() -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def judge(images: npt.NDArray[np.uint8], z: Tensor) -> npt.NDArray[np.float64]:
        seen.append((images.copy(), nearness(images, z)))
        return seen[-1][1]

    _, led = walk(judge=judge, variance_weight=0)
    assert len(led.terms) == 200
    assert float(led.terms[-1].text) < 0.1 * float(led.terms[0].text)
    assert len(seen) == 11  # 0, 20, ..., 200
    scores = np.stack([score for _, score in seen])
    np.testing.assert_array_equal(led.scores, scores.max(axis=0))
    for row, block in enumerate(scores.argmax(axis=0)):
        np.testing.assert_array_equal(led.images[row], seen[block][0][row])
    assert (led.scores > scores[-1]).any()  # text went on at the price of the score; what is returned did not


def test_the_ends_are_scored_and_passes_counted_whatever_the_stride() -> None:
    judged: list[int] = []

    def judge(images: npt.NDArray[np.uint8], z: Tensor) -> npt.NDArray[np.float64]:
        judged.append(len(images))
        return nearness(images, z)

    assert walk(judge=judge, iterations=5, score_every=3)[1].evaluations == 6 * B
    assert judged == [B] * 3  # 0, 3, 5
    first, led = walk(judge=judge, iterations=0)
    assert led.evaluations == B
    assert torch.equal(led.z, first)
    np.testing.assert_array_equal(led.images, to_pixels(decode(first)))


def test_each_weight_alone_leads_its_own_term_down() -> None:
    for name in ("text", "image", "perceptual", "variance"):
        weights = {f"{one}_weight": float(one == name) for one in ("text", "image", "perceptual", "variance")}
        _, led = walk(iterations=30, **weights)
        assert float(getattr(led.terms[-1], name)) < float(getattr(led.terms[0], name))
        others = {"text", "image", "perceptual", "variance"} - {name}
        silent = others - ({"text", "image"} if name in ("text", "image") else set())
        assert all(float(getattr(led.terms[0], one)) == 0 for one in silent)


def test_the_loss_is_the_weighted_sum_of_its_four_parts() -> None:
    asked = objective(text_weight=2, image_weight=3, perceptual_weight=5, variance_weight=7)
    z = normals().sample(row_noise([3], "toy", (B, 3, 1, 1))[0])
    boxes = np.tile(np.array([[1, 0, 0]], np.float32), (2 * B, 1))
    cosines = float((vector(z[:, :, 0, 0]) @ asked.text).mean())
    wanted = 2 * (1 - cosines) + 3 * (1 - cosines)
    wanted += 5 * float(decode(z).square().flatten(1).sum(1).mean())
    wanted += 7 * float(gaussian.kl(gaussian.fit(z), normals())) / 3
    assert float(asked.loss(asked.terms(z, decode(z), boxes))) == pytest.approx(wanted, rel=1e-5)


def test_numbers_that_run_away_are_reported() -> None:
    _, led = walk(judge=lambda images, z: np.full(len(images), np.nan))
    assert not led.finite
    asked = objective(iterations=3)
    wild = lead(torch.full((B, 3, 1, 1), torch.nan), decode, asked, nearness, np.random.default_rng(0))
    assert not wild.finite
    assert wild.evaluations == B
