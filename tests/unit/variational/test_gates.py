"""Card 002 section 5: what is refused."""

import numpy as np
import pytest
import torch

from farm.config import VariationalConfig
from farm.diffusion.latents import to_unit
from farm.one_class import Encoder, PatchCore
from farm.perceptual_features import Features, between
from farm.variational import gates
from farm.variational.gates import NEAREST, AnomalyGate, CopyGate, Gates
from farm.variational.light import lightly
from farm.variational.perceptual import Looks, distance
from tests.photos import plate

SIZE = 64


@pytest.fixture(scope="module")
def looks() -> Looks:
    return Looks()


@pytest.fixture(scope="module")
def normals() -> np.ndarray:
    return np.stack([plate(seed, SIZE) for seed in range(8)])


@pytest.fixture(scope="module")
def both(normals: np.ndarray, looks: Looks) -> Gates:
    config = VariationalConfig(max_anomaly_quantile=1.0)
    return Gates(normals, normals[:0], config, looks, torch.device("cpu"))


# card 002, 7.9
def test_a_pasted_black_square_is_refused_and_another_normal_is_not(both: Gates) -> None:
    fresh = plate(100, SIZE)
    assert both.objection(fresh) == ""
    fresh[20:34, 20:34] = 0
    assert both.objection(fresh) == "would_be_an_anomaly"


def test_a_normal_again_and_a_level_away_is_a_copy(both: Gates, normals: np.ndarray) -> None:
    assert both.objection(normals[5]) == "copy"
    assert both.objection(normals[5] + np.uint8(1)) == "copy"


# card 002, 7.9: with a single normal
def test_a_single_normal_is_judged_by_its_light_changes(looks: Looks) -> None:
    rng = np.random.default_rng(0)
    normal = plate(0, SIZE)
    changed = lightly(normal, 8, ("horizontal",), rng)
    both = Gates(normal[None], changed, VariationalConfig(max_anomaly_quantile=1.0), looks, torch.device("cpu"))
    bad = normal.copy()
    bad[20:34, 20:34] = 0
    assert both.objection(bad) == "would_be_an_anomaly"
    assert both.objection(normal) == "copy"
    assert both.objection(changed[0]) == ""  # one of the known, and no copy


def test_the_threshold_is_the_quantile_of_leave_one_out_scores(normals: np.ndarray) -> None:
    see = Encoder(SIZE)
    scores = sorted(
        float(PatchCore(see).fit(np.delete(normals, row, axis=0)).scores(normals[row : row + 1])[0])
        for row in range(len(normals))
    )
    assert AnomalyGate(normals, 1.0, see).threshold == pytest.approx(scores[-1], rel=1e-3)
    assert AnomalyGate(normals, 0.5, see).threshold == pytest.approx(
        scores[4], rel=1e-3
    )  # the higher of the middle two


def test_the_nearest_normal_is_found_among_many_and_distances_are_those_of_the_metric(
    normals: np.ndarray, looks: Looks
) -> None:
    many = np.concatenate([np.stack([plate(seed, SIZE) // 2 for seed in range(50, 60)]), normals])
    assert len(many) > NEAREST
    image = normals[3] + np.uint8(3)
    features = Features()
    wanted = between(features.perceptual(image[None]), features.perceptual(many))[0]
    assert wanted.argmin() == 13
    assert CopyGate(many, 0.1, looks, torch.device("cpu")).nearest(image) == pytest.approx(wanted.min(), rel=1e-2)


def test_looks_pass_gradients_and_rows_stand_for_themselves(normals: np.ndarray, looks: Looks) -> None:
    unit = to_unit(normals[:2]).requires_grad_(True)
    found = distance(looks(unit), looks(to_unit(normals[2:3])))
    assert found.shape == (2,)
    found[0].backward()
    assert unit.grad is not None
    assert unit.grad[0].abs().max() > 0 == unit.grad[1].abs().max()
    assert {gates.ANOMALY, gates.COPY} == {"would_be_an_anomaly", "copy"}
