import pytest

from tests.fits import striped_pairs, tiny_recipe


@pytest.fixture
def render():
    return striped_pairs


@pytest.fixture
def tiny():
    return tiny_recipe()
