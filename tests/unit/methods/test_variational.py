"""Card 002 as a method: rows of normals on a tiny autoencoder, and what they do for a detector."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from farm.config import Run, VariationalConfig, parse
from farm.diffusion.backbone import Backbone, load_backbone
from farm.diffusion.latents import to_pixels, to_unit
from farm.errors import ConfigError
from farm.ids import generator
from farm.methods.base import Request
from farm.methods.variational import Variational, read_normals
from farm.metrics import auroc
from farm.one_class import Encoder, PatchCore
from tests.photos import make_tree
from tests.tiny import surface

ROWS, SIZE = 3, 64
SHORT = {"candidates": 2, "iterations": 3, "cutouts": 1, "score_every": 2}


class Means:
    """A smooth autoencoder: a latent is the mean colour of a cell of 8 x 8."""

    def __init__(self) -> None:
        self.device, self.factor, self.vae = torch.device("cpu"), 8, object()

    def encode(self, images: np.ndarray) -> Tensor:
        return F.avg_pool2d(to_unit(images), 8)

    def decode(self, z: Tensor) -> Tensor:
        return F.interpolate(z, scale_factor=8, mode="bilinear", align_corners=False)


def make_run(folder: Path | str = "embedded", data: dict[str, Any] | None = None, **method: Any) -> Run:
    tree = {
        "name": "tiny",
        "output": "nowhere",
        "rows": ROWS,
        "size_px": SIZE,
        "data": data or {"kind": "textile", "category": "textile"},
        "prompts": {"normal": "cloth", "defects": [{"name": "hole", "prompt": "a hole"}]},
        "model": {"path": str(folder)},
        "compute": {"batch_size": 2},
        "methods": [{"kind": "variational", **SHORT, **method}],
    }
    return parse(tree, "tiny")


@pytest.fixture(scope="module")
def build() -> Callable[..., Variational]:
    def made(normals: np.ndarray, backbone: Any = None, **settings: Any) -> Variational:
        run = make_run(**settings)
        config = run.methods[0]
        assert isinstance(config, VariationalConfig)
        return Variational(config, run, Means() if backbone is None else backbone, normals)  # type: ignore[arg-type]

    return made


@pytest.fixture(scope="module")
def method(build: Callable[..., Variational]) -> Variational:
    return build(surface(4, SIZE))


@pytest.fixture(scope="module")
def request_() -> Request:
    masks = np.zeros((ROWS, SIZE, SIZE), np.uint8)
    masks[:, 10:20, 10:20] = 1
    seeds = np.arange(ROWS, dtype=np.int64) + 100
    return Request(surface(4, SIZE)[:ROWS], masks, seeds, ("",) * ROWS, ("a hole",) * ROWS, ("cloth",) * ROWS)


def rows_of(request: Request, rows: list[int]) -> Request:
    return replace(request, source=request.source[rows], mask=request.mask[rows], seed=request.seed[rows])


def test_a_row_is_the_same_bytes_alone_and_in_any_company(method: Variational, request_: Request) -> None:
    whole = method(request_)
    assert whole.error == ("",) * ROWS
    assert len({image.tobytes() for image in whole.image}) == ROWS
    for rows in ([1], [2, 0], [2, 2, 1, 0]):
        made = method(rows_of(request_, rows))
        np.testing.assert_array_equal(made.image, whole.image[rows])
        assert made.objection == tuple(whole.objection[row] for row in rows)


# card 002, 7.7: as far as the method goes
def test_what_it_makes_is_normal(method: Variational, request_: Request) -> None:
    made = method(request_)
    assert VariationalConfig.makes == "normal"
    assert made.image.shape == request_.source.shape
    assert made.image.dtype == made.label.dtype == np.uint8
    assert made.label.shape == request_.mask.shape
    assert not made.label.any()
    assert not made.background_error.any()
    assert set(made.objection) <= {"", "copy", "would_be_an_anomaly"}
    assert made.evaluations.dtype == np.int32
    assert made.evaluations.tolist() == [2 * (3 + 1)] * ROWS
    assert method.needs_trajectory is False


def test_seed_and_source_decide_a_row_and_the_mask_means_nothing(method: Variational, request_: Request) -> None:
    one = rows_of(request_, [0])
    first = method(one).image
    np.testing.assert_array_equal(method(replace(one, mask=1 - one.mask)).image, first)
    assert (method(replace(one, seed=one.seed + 1)).image != first).any()
    walks = [method.lead(source, 100).z for source in request_.source[:2]]
    assert not torch.equal(*walks)


# card 002, 7.3: sigma = 0 gives the reconstruction of a single normal, and of the row's own source
def test_without_sigma_the_first_image_is_a_reconstruction(build: Callable[..., Variational]) -> None:
    normals = surface(3, SIZE)
    still = {"sigma": 0, "iterations": 0}
    for method, source, shown in (
        (build(normals[:1], **still), normals[2], normals[0]),
        (build(normals, centre="source", **still), normals[2], normals[2]),
        (build(normals, centre="source", noise="joint", **still), normals[1], normals[1]),
    ):
        wanted = to_pixels(method.backbone.decode(method.backbone.encode(shown[None])))[0]
        for image in method.lead(source, 5).images:
            assert np.abs(image.astype(int) - wanted).max() <= 1  # a batch of another size: its own rounding


def test_with_detail_the_source_itself_is_where_the_walk_starts(build: Callable[..., Variational]) -> None:
    normals = surface(3, SIZE)
    method = build(normals, centre="source", detail=True, sigma=0, iterations=0)
    assert np.abs(method.lead(normals[1], 5).images.astype(int) - normals[1]).max() <= 1
    with pytest.raises(ConfigError, match="detail: true needs centre 'source'"):
        make_run(detail=True)


def test_joint_noise_draws_what_the_normals_span(build: Callable[..., Variational]) -> None:
    method = build(surface(3, SIZE), noise="joint")
    z, mean = method.backbone.encode(method.normals).flatten(1), method.distribution.mean.flatten()
    drawn = method.distribution.sample(method.noise(9)).flatten(1) - mean
    span = (z - mean)[:2].T
    left = drawn - (span @ torch.linalg.lstsq(span, drawn.T).solution).T
    assert drawn.norm() > 0.1
    assert left.norm() < 0.01 * drawn.norm()


# card 002, 7.6: with the embedded CLIP
def test_the_image_and_text_terms_go_down_on_real_towers(build: Callable[..., Variational]) -> None:
    method = build(surface(4, SIZE), iterations=12, cutouts=2)
    terms = method.lead(method.normals[0], 3).terms
    assert len(terms) == 12
    loss = [float(one.text + one.image + one.perceptual) for one in terms]
    assert np.mean(loss[-3:]) < loss[0]
    assert method.choice.prompt.startswith("a textile with ")


def test_the_best_that_no_gate_refuses_is_taken(
    method: Variational, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, seed = request_.source[0], int(request_.seed[0])
    led = method.lead(source, seed)
    best, other = led.images[np.argsort(-led.scores)]
    one = rows_of(request_, [0])
    for refused, image, objection in (
        ({}, best, ""),
        ({best.tobytes(): "copy"}, other, ""),
        ({best.tobytes(): "copy", other.tobytes(): "would_be_an_anomaly"}, best, "copy"),
    ):
        monkeypatch.setattr(method, "objection", lambda image, refused=refused: refused.get(image.tobytes(), ""))
        made = method(one)
        np.testing.assert_array_equal(made.image[0], image)
        assert made.objection == (objection,)


def test_a_row_that_runs_away_fails_alone(
    method: Variational, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = method(rows_of(request_, [0, 2]))
    noise = method.noise
    monkeypatch.setattr(method, "noise", lambda seed: noise(seed) * (torch.nan if seed == 101 else 1))
    made = method(request_)
    assert made.error == ("", "latents or pixels are not finite; lower lr or sigma", "")
    np.testing.assert_array_equal(made.image[[0, 2]], good.image)


def test_the_normals_are_those_of_the_arm(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "plates")
    run = make_run(data={"kind": "mvtec", "root": str(root), "category": "plate"}, sources=5)
    config = run.methods[0]
    assert isinstance(config, VariationalConfig)
    found = read_normals(config, run)
    assert found.shape == (5, SIZE, SIZE, 3)
    every = read_normals(config.model_copy(update={"sources": None}), run)
    assert len(every) == 12
    np.testing.assert_array_equal(found[[0, -1]], every[[0, -1]])


def shaded(seed: int, count: int, spot: bool = False, other: bool = False) -> np.ndarray:
    """Smooth plates, each turned, lit and shaded a little otherwise; defects are soft grey spots, the other category
    is all soft grey spots."""
    rng = generator(seed, "shaded")
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    made = []
    for _ in range(count):
        turn = rng.uniform(-0.05, 0.05)
        level = 140 + 40 * np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn))) * rng.uniform(0.9, 1.1)
        level = level * rng.uniform(0.95, 1.05)
        for _ in range(6 if other else int(spot)):
            cy, cx = rng.uniform(-0.3, 0.3, 2)
            level = level - 14 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 0.004)
        made.append(np.clip(level, 0, 255))
    return np.repeat(np.stack(made)[..., None], 3, axis=3).astype(np.uint8)


# card 002, 7.8
def test_a_detector_of_one_normal_gains_by_generated_ones_and_loses_by_another_category(
    build: Callable[..., Variational],
) -> None:
    see = Encoder(SIZE)
    test = np.concatenate([shaded(50, 24), shaded(51, 24, spot=True)])
    seen, labels = see(test), np.repeat([0, 1], 24)
    found: dict[str, list[float]] = {"real": [], "generated": [], "other": []}
    for seed in range(3):
        real = shaded(seed, 1)
        method = build(real, noise="joint", iterations=0, flips=())
        made = np.concatenate([method.lead(real[0], row).images[:1] for row in range(4)])
        for name, more in (("real", real[:0]), ("generated", made), ("other", shaded(seed, 4, other=True))):
            detector = PatchCore(see).fit(np.concatenate([real, more]))
            found[name].append(auroc(detector.scores_of(seen), labels))
    real_, generated, other = (float(np.mean(one)) for one in found.values())
    assert generated >= real_
    assert other < real_
    assert 0.5 < real_ < 1


def test_the_runs_backbone_is_loaded_and_its_rows_too_stand_for_themselves(folder: Path, request_: Request) -> None:
    run = make_run(folder)
    config = run.methods[0]
    assert isinstance(config, VariationalConfig)
    method = Variational(config, run, normals=surface(2, SIZE))
    assert isinstance(method.backbone, Backbone)
    assert method.backbone is load_backbone(run.model, run.compute)
    whole, alone = method(rows_of(request_, [0, 1])), method(rows_of(request_, [1]))
    assert whole.error == ("", "")
    np.testing.assert_array_equal(alone.image, whole.image[[1]])
