"""Zero-shot by text: known answers with towers that read one word, and the embedded model on held-out renders."""

import numpy as np
import pytest

from farm import mini
from farm.config import ComputeConfig
from farm.errors import ConfigError, WeightsError
from farm.mini.sentences import FAULT_ENDINGS, FAULT_WORDS, SOUND_ENDINGS, SOUND_WORDS, TEXTILE_SURFACE, WORDS, states
from farm.mini.zero_shot import ZeroShot, ensemble, load_zero_shot
from farm.surfaces import SURFACES, render_batch

PLACES = ("leather", "wood", "glass")
FAULTY = {*FAULT_WORDS, "defect", "defects", "fault", "damage"}


class Towers:
    """Space: one axis a surface and one that says faulty (+) or sound (-). A picture's first pixel holds its vector."""

    def texts(self, sentences):
        return np.stack([self._vector(told) for told in sentences])

    def _vector(self, told):
        words = told.split()
        state = 1 if FAULTY & set(words) and "without" not in words else -1 if "a photo" in told else 0
        axes = [float(name in words or (name == "wood" and "wooden" in words)) for name in PLACES]
        vector = np.array([*axes, 0.5 * state], np.float32)
        return vector / np.linalg.norm(vector)

    def __call__(self, images):
        place, state = images[:, 0, 0, 0], images[:, 0, 0, 1]
        vectors = np.stack([np.append(np.eye(3)[p], (int(s) - 1) * 0.1) for p, s in zip(place, state, strict=True)])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def pictures(*shown):
    images = np.zeros((len(shown), 4, 4, 3), np.uint8)
    for image, (place, state) in zip(images, shown, strict=True):
        image[0, 0, :2] = PLACES.index(place), state
    return images


SOME = pictures(("leather", 2), ("wood", 0), ("glass", 0), ("glass", 2), ("wood", 2))


def test_each_picture_gets_its_own_surface_and_state():
    zero_shot = ZeroShot(Towers(), PLACES)
    assert zero_shot.names(SOME) == ["leather", "wood", "glass", "glass", "wood"]
    assert zero_shot.defective(SOME).tolist() == [True, False, False, True, True]
    margin = zero_shot.margin(SOME)
    assert margin.shape == (5,)
    np.testing.assert_allclose(margin[[0, 1]], [-margin[2], margin[2]], atol=1e-6)


def test_the_margin_is_the_difference_of_two_ensembles_of_the_given_surface():
    towers = Towers()
    zero_shot = ZeroShot(towers, PLACES)
    faulty = ensemble(towers, states(WORDS["glass"], FAULT_ENDINGS, FAULT_WORDS))
    sound = ensemble(towers, states(WORDS["glass"], SOUND_ENDINGS, SOUND_WORDS))
    expected = towers(SOME) @ (faulty - sound)
    np.testing.assert_allclose(zero_shot.margin(SOME, ["glass"] * 5), expected, atol=1e-6)


def test_an_ensemble_is_the_mean_direction_of_its_sentences():
    vector = ensemble(Towers(), ["a photo of glass", "a photo of glass with damage"])
    np.testing.assert_allclose(vector, [0, 0, 1, 0], atol=1e-6)


def test_a_surface_without_words_is_named():
    with pytest.raises(ConfigError, match=r"surface 'cheese' has no words; choose from: brushed_metal"):
        ZeroShot(Towers(), ["cheese"])
    with pytest.raises(ConfigError, match=r"surface 'paper' is not one of this model's: leather, wood, glass"):
        ZeroShot(Towers(), PLACES).margin(SOME[:1], ["paper"])


def test_every_catalogue_surface_and_the_demos_textile_can_be_named():
    assert set(WORDS) == {*SURFACES, TEXTILE_SURFACE}
    words = [word for some in WORDS.values() for word in some]
    assert len(set(words)) == len(words)


@pytest.fixture(scope="module")
def embedded():
    try:
        mini.weights_dir("clip")
    except WeightsError as error:
        pytest.skip(f"the embedded weights are not in this checkout: {error}")
    return load_zero_shot(ComputeConfig(batch_size=16))


def test_the_embedded_model_names_surfaces_and_defects_of_renders_it_never_saw(embedded):
    made = render_batch(range(700_000_000, 700_000_048))
    sound, faulty = (embedded.towers(made[name]) for name in ("normal", "image"))
    named = np.array([embedded.names_of(sound), embedded.names_of(faulty)])
    assert (named == np.array(made["surface"])).mean() >= 0.85
    right = np.concatenate([embedded.margin_of(sound) <= 0, embedded.margin_of(faulty) > 0])
    assert right.mean() >= 0.75
