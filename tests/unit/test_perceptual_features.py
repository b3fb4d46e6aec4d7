import numpy as np
import pytest

from farm.config import ComputeConfig
from farm.embedders.efficientnet import EfficientNetLite0
from farm.mini.data import to_tensor
from farm.mini.perceptual import Perceptual
from farm.perceptual_features import Features, between
from tests.tiny import surface


@pytest.fixture(scope="module")
def features():
    return Features(batch_size=4)


def test_pooled_features_are_the_embedders_before_they_are_scaled(features):
    images = surface(2, 64)
    pooled = features.pooled(images)
    assert pooled.shape == (2, 1280)
    assert pooled.dtype == np.float32
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, EfficientNetLite0(ComputeConfig(batch_size=4))(images), atol=1e-6)


def test_a_row_is_the_same_bytes_in_any_company_and_number(features):
    images = surface(5, 64)
    for network in (features.pooled, features.perceptual):
        whole = network(images)
        np.testing.assert_array_equal(network(images[4:]), whole[4:])
        np.testing.assert_array_equal(network(images[[2, 0]]), whole[[2, 0]])


def test_squared_distance_is_the_perceptual_loss(features):
    images = surface(3, 64)
    found = between(features.perceptual(images[:2]), features.perceptual(images))
    assert found.shape == (2, 3)
    assert np.diag(found) == pytest.approx(0, abs=1e-5)
    wanted = float(Perceptual()(to_tensor(images[:1]), to_tensor(images[2:]))[0])
    assert found[0, 2] == pytest.approx(wanted, rel=1e-4)
