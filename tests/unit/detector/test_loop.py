"""One step, its schedule, and a checkpoint after which learning goes on as if nothing had happened."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from farm.config import DetectorConfig, StageConfig
from farm.detector.checkpoint import from_bytes, read_checkpoint, to_bytes, write_checkpoint
from farm.detector.loop import ENCODER_RATE, Loop, learning_rate
from farm.detector.model import build_detector
from farm.detector.predict import Detector
from farm.errors import WeightsError

TINY = DetectorConfig(width=4)


def batch(step: int, rows: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise with a dark square to be found."""
    rng = np.random.default_rng(step)
    image = rng.integers(100, 156, (rows, 64, 64, 3), dtype=np.uint8)
    label = np.zeros((rows, 64, 64), np.uint8)
    for row in range(rows):
        y, x = rng.integers(0, 48, 2)
        image[row, y : y + 16, x : x + 16] //= 3
        label[row, y : y + 16, x : x + 16] = 1
    return image, label


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("efficientnet_unet", [0.23453563, 0.23214254, 0.23128192]),
        ("unet", [0.20076883, 0.18288457, 0.17114946]),
    ],
)
def test_the_first_steps_are_what_they_always_were(kind: str, wanted: list[float]) -> None:
    """Frozen on one machine; another CPU's additions differ in the last bits."""
    loop = Loop(build_detector(DetectorConfig(kind=kind, width=4)), StageConfig(steps=3, lr=1e-3))
    assert loop.run(batch(step) for step in range(3)) == pytest.approx(wanted, rel=1e-5)


def test_draem_learns_to_paint_the_squares_away() -> None:
    loop = Loop(build_detector(DetectorConfig(kind="draem", width=4)), StageConfig(steps=12, lr=5e-3))
    losses = []
    for step in range(12):
        image, label = batch(step)
        source = np.where(label[..., None], np.uint8(128), image)
        losses.append(float(loop.learn(image, label, source)))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


@pytest.mark.parametrize("kind", ["efficientnet_unet", "fpn"])
def test_a_batch_in_parts_is_the_batch_up_to_rounding(kind: str) -> None:
    detector = DetectorConfig(kind=kind, width=4)
    whole, parts = (
        Loop(build_detector(detector), StageConfig(steps=3, batch_size=4, accumulate=count, lr=1e-3))
        for count in (1, 4)
    )
    assert whole.run(batch(step, 4) for step in range(3)) == pytest.approx(
        parts.run(batch(step, 4) for step in range(3)), rel=1e-4
    )
    for (name, one), other in zip(whole.model.named_parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-5, rtol=1e-2), name


def test_gradients_are_sent_once_a_step() -> None:
    model, held = build_detector(TINY), []

    class Parallel:
        """Stands for DistributedDataParallel: counts the parts whose gradients it holds back."""

        def __call__(self, pixels: torch.Tensor) -> object:
            return model(pixels)

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            held.append(1)
            yield

    Loop(model, StageConfig(steps=1, batch_size=4, accumulate=4), Parallel()).learn(*batch(0, 4))
    assert len(held) == 3


def test_a_batch_that_has_no_equal_parts_is_refused() -> None:
    loop = Loop(build_detector(TINY), StageConfig(steps=1, accumulate=3))
    with pytest.raises(ValueError, match="a batch of 4 rows cannot be learned in 3 equal parts"):
        loop.learn(*batch(0, 4))


def test_bfloat16_learns_nearly_the_same_and_keeps_float32_weights() -> None:
    exact, half = (Loop(build_detector(TINY), StageConfig(steps=4), dtype=dtype) for dtype in ("float32", "bfloat16"))
    found, wanted = (loop.run(batch(step) for step in range(4)) for loop in (half, exact))
    assert found == pytest.approx(wanted, rel=0.05)
    assert found != wanted
    assert {weight.dtype for weight in half.model.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in half.model.parameters()} == {torch.float32}


def test_a_compiled_forward_pass_is_what_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def compiled(forward: torch.nn.Module) -> object:
        return lambda pixels: (passes.append(len(pixels)), forward(pixels))[1]

    monkeypatch.setattr(torch, "compile", compiled)  # the real one needs minutes
    loop = Loop(build_detector(TINY), StageConfig(steps=2), compiled=True)
    assert loop.run([batch(0), batch(1)]) == Loop(build_detector(TINY), StageConfig(steps=2)).run([batch(0), batch(1)])
    assert passes == [2, 2]


def test_the_rate_falls_to_a_fifth_at_80_and_90_percent() -> None:
    rates = [learning_rate(1.0, step, 10) for step in range(10)]
    assert rates == pytest.approx([1.0] * 8 + [0.2, 0.04])


def test_learning_finds_the_squares() -> None:
    loop = Loop(build_detector(TINY), StageConfig(steps=15, lr=5e-3))
    losses = loop.run(batch(step) for step in range(15))
    assert loop.step == 15
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])
    image, label = batch(99, rows=4)
    maps, _ = Detector(loop.model, batch_size=4)(image)
    assert maps[label == 1].mean() > 2 * maps[label == 0].mean()


def test_pretrained_layers_learn_slower() -> None:
    loop = Loop(build_detector(TINY), StageConfig(steps=10, lr=1e-2))
    loop.learn(*batch(0))
    rates = {len(group["params"]): group["lr"] for group in loop.optimiser.param_groups}
    encoder = len(list(loop.model.encoder.parameters()))
    assert rates[encoder] == pytest.approx(1e-2 * ENCODER_RATE)
    assert len(rates) == 2


def test_a_checkpoint_resumes_to_the_bit(tmp_path: Path) -> None:
    config = StageConfig(steps=6, lr=1e-3)
    undisturbed = Loop(build_detector(TINY), config)
    undisturbed.run(batch(step) for step in range(6))

    first = Loop(build_detector(TINY), config)
    first.run(batch(step) for step in range(3))
    write_checkpoint(tmp_path, first.model, first.optimiser, {"step": 3, "losses": [0.5]})
    second = Loop(build_detector(TINY, seed=8), config)
    card = read_checkpoint(tmp_path, second.model, second.optimiser)
    assert card == {"step": 3, "losses": [0.5]}
    second.step = card["step"]
    second.run(batch(step) for step in range(3, 6))
    assert same(second.model, undisturbed.model)


def test_weights_travel_as_bytes_and_a_detector_loads_from_its_folder(tmp_path: Path) -> None:
    model = build_detector(TINY, seed=5)
    data = to_bytes(model)
    assert data == to_bytes(model)
    (tmp_path / "model.safetensors").write_bytes(data)
    (tmp_path / "card.json").write_text(json.dumps({"detector": TINY.model_dump()}))
    image, _ = batch(0)
    assert np.array_equal(Detector.load(str(tmp_path))(image)[0], Detector(model)(image)[0])


def test_weights_of_another_width_are_refused_by_name() -> None:
    data = to_bytes(build_detector(TINY))
    with pytest.raises(WeightsError, match=r"here: \d+ tensor\(s\) do not fit the detector, first 'decoder"):
        from_bytes(build_detector(DetectorConfig(width=8)), data, "here")


def test_half_a_file_is_refused() -> None:
    model = build_detector(TINY)
    with pytest.raises(WeightsError, match="here: is not a whole safetensors file"):
        from_bytes(model, to_bytes(model)[:1000], "here")
