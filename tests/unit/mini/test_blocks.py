import numpy as np
import pytest
import torch

from farm.fitting.loop import Fit
from farm.mini.blocks import fit_blocks, set_encoder
from farm.mini.data import fill_pool, load_pool, to_tensor
from farm.mini.networks import build_vae
from farm.mini.perceptual import Perceptual
from farm.mini.recipe import VaeRecipe
from farm.mini.train_vae import VaeTask


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 200, (30, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(smooth + rng.integers(0, 50, (30, 32, 32, 3)), 0, 255).astype(np.uint8)


def blocks_of(images):
    """(N * h * w, 192) in (row, column, colour) order."""
    count, height, width, _ = images.shape
    tiles = images.reshape(count, height // 8, 8, width // 8, 8, 3).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(-1, 192) / 255


def test_the_transform_is_the_principal_components(images):
    blocks = fit_blocks(images, 5, count=20_000)
    centred = blocks_of(images) - blocks.mean
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    assert np.abs(np.diag(blocks.basis[:, :3].T @ vectors[:3].T)) == pytest.approx(1, abs=2e-2)
    assert blocks.std[0] == pytest.approx(values[0] / len(centred) ** 0.5, rel=0.03)
    assert np.allclose(blocks.basis.T @ blocks.basis, np.eye(5), atol=1e-9)


@pytest.mark.parametrize(("channels", "groups"), [((12, 48, 48, 48), 2), ((24, 64, 52, 52), 4)])
def test_the_network_holds_the_transform(images, channels, groups):
    blocks = fit_blocks(images, 8, count=5000)
    vae = build_vae(VaeRecipe(channels=channels, groups=groups, latent_channels=8), 32)
    set_encoder(vae, blocks)
    with torch.no_grad():
        posterior = vae.encode(to_tensor(images[:3])).latent_dist
    wanted = blocks.project(blocks_of(images[:3])).reshape(3, 4, 4, 8).transpose(0, 3, 1, 2)
    assert np.abs(posterior.mean.numpy() - wanted).max() < 1e-3
    assert float(posterior.std.max()) < 1e-3
    assert np.std(blocks.project(blocks_of(images)), axis=0) == pytest.approx(1, rel=0.05)


def test_channels_that_cannot_hold_the_transform_are_refused():
    with pytest.raises(ValueError, match="cannot hold the block transform"):
        VaeRecipe(channels=(8, 48, 64, 64))
    with pytest.raises(ValueError, match="must divide latent_channels"):
        VaeRecipe(latent_channels=6)


def test_thirty_steps_of_the_decoder_lower_its_loss_and_leave_the_encoder(tiny, render, tmp_path):
    fill_pool(tmp_path, tiny.pool, render)
    task = VaeTask(tiny, load_pool(tmp_path, tiny.pool))
    before = {name: value.clone() for name, value in task.vae.encoder.state_dict().items()}
    fit = Fit(task, tiny.vae.loop, tiny.seed)
    losses = [fit.advance()["mse"] for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    after = fit.finished()["vae"].encoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_blurred_picture_is_farther_in_texture_than_one_of_other_grain():
    torch.manual_seed(0)
    compare = Perceptual()
    grain, other = (torch.rand(2, 3, 64, 64) for _ in range(2))
    blurred = torch.nn.functional.avg_pool2d(grain, 3, 1, 1)
    assert compare(grain, grain) == (0, 0)
    assert compare(grain, blurred)[1] > 3 * compare(grain, other)[1]
