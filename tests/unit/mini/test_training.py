import numpy as np
import pytest
import torch

from farm.errors import ConfigError
from farm.fitting.loop import Fit
from farm.fitting.task import Part, generator
from farm.mini.data import draw_crops, draw_rows, fill_pool, focused, load_pool, to_tensor, to_uint8
from farm.mini.fit import token_ids
from farm.mini.recipe import hold_settings, load_recipe
from farm.mini.train_unet import UnetTask
from farm.mini.train_vae import VaeTask, encode_pool, latent_scale


@pytest.fixture
def pool(tiny, render, tmp_path):
    fill_pool(tmp_path / "pool", tiny.pool, render)
    return load_pool(tmp_path / "pool", tiny.pool)


def _unet_task(tiny, pool):
    ids, vocabulary = token_ids(tiny, pool, 77)
    latents = torch.randn(len(pool), 4, 4, 4, generator=generator(0, "latents", 0)) * 0.1 + 1
    return UnetTask(tiny, pool, latents, ids, vocabulary)


def test_the_pool_holds_both_pictures_of_every_pair(pool):
    assert len(pool) == 12
    assert pool.defective.sum() == 6
    assert all(("stain" in text) == bad for text, bad in zip(pool.captions, pool.defective, strict=True))
    assert (pool.images[pool.defective][:, 10, 10] == 250).all()
    assert (pool.images[~pool.defective][:, 10, 10] < 200).all()


def test_a_full_pool_renders_nothing_again(tiny, pool, tmp_path):
    def refuse(seeds, size_px, surface):
        raise AssertionError(f"rendered {seeds} again")

    fill_pool(tmp_path / "pool", tiny.pool, refuse)


def test_a_focus_adds_pairs_of_its_surfaces_and_the_noise_predictor_learns_them_alone(tiny, render, tmp_path):
    recipe = tiny.pool.model_copy(update={"focus": ("a", "b"), "focus_pairs": 2})
    fill_pool(tmp_path, recipe, render)
    pool = load_pool(tmp_path, recipe)
    assert sorted(set(pool.surfaces)) == ["a", "b", "plate"]
    assert len(pool) == 2 * (6 + 2 + 2)
    assert {pool.surfaces[index] for index in focused(pool, recipe.focus)} == {"a", "b"}
    assert len(focused(pool, ())) == len(pool)


def test_rows_are_half_defective(pool):
    rows = draw_rows(pool, np.arange(len(pool)), 4000, generator(0, "rows", 0)).numpy()
    assert abs(pool.defective[rows].mean() - 0.5) < 0.03


def test_pixels_survive_the_way_to_tensors_and_back():
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(to_uint8(to_tensor(images)), images)


def test_thirty_steps_of_the_autoencoder_lower_its_loss(tiny, pool):
    fit = Fit(VaeTask(tiny, pool), tiny.vae.loop, tiny.seed)
    losses = [fit.advance()["loss"] for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    latents = encode_pool(fit.finished()["vae"], pool)
    assert latents.shape == (12, 4, 4, 4)
    assert float((latents.float() * latent_scale(latents)).std()) == pytest.approx(1, abs=1e-3)


def test_thirty_steps_of_the_noise_predictor_lower_its_loss(tiny, pool):
    fit = Fit(_unet_task(tiny, pool), tiny.unet.loop, tiny.seed)
    losses = [fit.advance()["error"] for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_two_parts_of_a_batch_are_the_batch(tiny, pool):
    parts = (Part(), Part(0, 2), Part(1, 2))
    whole, first, second = (_unet_task(tiny, pool).loss(1, generator(0, "parts", 1), part) for part in parts)
    for name, value in whole.items():
        both = (first[name] + second[name]) / 2
        assert both.item() == pytest.approx(value.item(), rel=1e-5)
    assert first["loss"].item() != pytest.approx(second["loss"].item(), rel=1e-3)
    whole, first, second = (draw_crops(pool, 6, 16, generator(0, "parts", 1), part) for part in parts)
    assert torch.equal(whole, torch.stack([first, second], dim=1).flatten(0, 1))


def test_a_folder_begun_with_other_settings_is_refused(tiny, tmp_path):
    for phase in ("pool", "vae", "unet"):
        hold_settings(tiny, tmp_path, phase)
    rarer = tiny.unet.loop.model_copy(update={"checkpoint_every": 7, "lr": 0.5})
    other = tiny.model_copy(update={"unet": tiny.unet.model_copy(update={"loop": rarer, "compiled": True})})
    hold_settings(other, tmp_path, "vae")
    with pytest.raises(
        ConfigError, match=r"unet was begun with other settings(.|\n)*unet.loop.lr: 0.003 there, 0.5 in"
    ) as e:
        hold_settings(other, tmp_path, "unet")
    assert "checkpoint_every" not in str(e.value)


def test_a_recipe_with_groups_that_do_not_divide_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("vae: {groups: 7}\nsteps: 3\n")
    with pytest.raises(ConfigError, match=r"2 setting\(s\) are wrong(.|\n)*groups must divide"):
        load_recipe(path)
