"""Card 002 section 4.2: the Gaussian of the latents, its divergences and the quantiser."""

import numpy as np
import pytest
import torch

from farm.diffusion.latents import row_noise
from farm.variational import gaussian
from farm.variational.gaussian import FLOOR, Diagonal


def some(seed: int, *shape: int, low: float = 0.3, high: float = 1.5) -> Diagonal:
    rng = np.random.default_rng(seed)
    return Diagonal(torch.from_numpy(rng.normal(0, 1, shape)), torch.from_numpy(rng.uniform(low, high, shape)))


def draws(count: int, *shape: int) -> torch.Tensor:
    return row_noise([7], "test", (count, *shape))[0].double()


# card 002, 7.2
def test_kl_is_what_monte_carlo_finds() -> None:
    g, r = some(0, 3), some(1, 3)
    z = g.sample(draws(100_000, 3))
    ratio = torch.distributions.Normal(g.mean, g.variance.sqrt()).log_prob(z)
    ratio = ratio - torch.distributions.Normal(r.mean, r.variance.sqrt()).log_prob(z)
    assert float(gaussian.kl(g, r)) == pytest.approx(float(ratio.sum(1).mean()), rel=0.01)
    assert float(gaussian.kl(g, r)) > 0.5


# card 002, 7.2
def test_kl_of_equals_is_0_and_its_gradient_is_finite_without_variance() -> None:
    g = some(0, 4, 2, 2)
    assert float(gaussian.kl(g, g)) == 0
    same = torch.ones(3, 4, 2, 2, requires_grad=True)
    value = gaussian.kl(gaussian.fit(same), Diagonal(torch.zeros(4, 2, 2), torch.zeros(4, 2, 2)))
    value.backward()
    assert torch.isfinite(value)
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()
    assert same.grad.abs().max() > 0


def test_w2_of_diagonal_gaussians_is_that_of_sorted_samples() -> None:
    g, r = some(0, 2), some(1, 2)
    one, two = (one.sample(draws(100_000, 2)).sort(0).values for one in (g, r))
    assert float(gaussian.w2(g, r)) == pytest.approx(float((one - two).square().mean().sqrt()), rel=0.01)
    assert float(gaussian.w2(g, g)) == 0


# card 002, 7.3
def test_draws_have_the_mean_and_variance_they_were_asked_for() -> None:
    asked, count = some(2, 2, 3, 3), 10_000
    z = asked.sample(draws(count, 2, 3, 3))
    errors = (z.mean(0) - asked.mean) / (asked.variance / count).sqrt()
    spreads = (z.var(0) / asked.variance - 1) / (2 / (count - 1)) ** 0.5
    assert errors.abs().max() < 3
    assert spreads.abs().max() < 3


# card 002, 7.3
def test_without_sigma_a_draw_is_the_mean() -> None:
    asked = some(2, 2, 3, 3).about(some(3, 2, 3, 3).mean, 0)
    assert torch.equal(asked.sample(draws(4, 2, 3, 3)), some(3, 2, 3, 3).mean.expand(4, 2, 3, 3))


def test_a_fit_is_mean_and_unbiased_variance_of_each_place_with_a_floor() -> None:
    z = draws(5, 2, 3, 3)
    z[:, 0, 0, 0] = 4
    found = gaussian.fit(z)
    np.testing.assert_allclose(found.mean, z.numpy().mean(0), atol=1e-12)
    np.testing.assert_allclose(found.variance, np.maximum(z.numpy().var(0, ddof=1), FLOOR), atol=1e-12)
    assert float(found.variance[0, 0, 0]) == FLOOR


def test_one_normal_has_the_variance_of_its_neighbourhood_and_light_changes() -> None:
    z, changed = draws(1, 2, 4, 4)[0], draws(4, 2, 4, 4)[1:]
    found = gaussian.fit(gaussian.of_one(z, changed))
    every = np.pad(torch.cat([z[None], changed]).numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    for channel, row, column in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        window = every[:, channel, row : row + 3, column : column + 3]
        assert float(found.variance[channel, row, column]) == pytest.approx(window.var(ddof=1))


def test_joint_noise_has_unit_variance_and_the_correlations_of_the_normals() -> None:
    z = draws(6, 1, 2, 2)
    z[:, 0, 0, 1] = 3 - 2 * z[:, 0, 0, 0]  # one place decides another
    eps = gaussian.joint(draws(10_000, 6), z)
    assert (eps.var(0) - 1).abs().max() < 3 * (2 / 9999) ** 0.5
    assert eps.mean(0).abs().max() < 0.03
    torch.testing.assert_close(eps[:, 0, 0, 1], -eps[:, 0, 0, 0])
    wanted = np.corrcoef(z.flatten(1).T.numpy())
    np.testing.assert_allclose(np.corrcoef(eps.flatten(1).T.numpy()), wanted, atol=0.03)


# card 002, 7.5
def test_the_straight_through_estimator_passes_gradient_1() -> None:
    z = torch.tensor([0.2, 1.7, -0.6], requires_grad=True)
    out = gaussian.straight_through(z, z.round())
    assert out.tolist() == [0, 2, -1]
    (out * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert z.grad is not None
    assert z.grad.tolist() == [1, 2, 3]


# card 002, 7.5: diffusers' own autoencoder with a codebook
def test_a_codebook_is_passed_straight_through_in_scaled_latents() -> None:
    from diffusers.models.autoencoders.vq_model import VQModel

    torch.manual_seed(0)
    vae = VQModel(
        block_out_channels=(8,),
        layers_per_block=1,
        latent_channels=4,
        num_vq_embeddings=16,
        norm_num_groups=4,
        scaling_factor=0.5,
    ).requires_grad_(False)
    z = torch.randn(2, 4, 3, 3, requires_grad=True)
    out = gaussian.quantiser(vae)(z)
    codebook = vae.quantize.embedding.weight
    nearest = torch.cdist(z.detach().movedim(1, -1).reshape(-1, 4) / 0.5, codebook).argmin(1)
    wanted = codebook[nearest].view(2, 3, 3, 4).movedim(-1, 1) * 0.5
    torch.testing.assert_close(out.detach(), wanted)
    weights = torch.randn(2, 4, 3, 3)
    (out * weights).sum().backward()
    torch.testing.assert_close(z.grad, weights)
    assert gaussian.quantiser(object())(z) is z
