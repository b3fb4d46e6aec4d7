"""Exports give what the torch detector gives, at any batch size, and are found again by their place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.detector import export
from farm.detector.export import FILES, TOLERANCE, export_detector
from farm.detector.opened import open_detector, open_trained
from farm.detector.predict import Detector
from farm.errors import ConfigError, RunError, WeightsError
from tests.detectors import SIZE, make_detector


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("fpn", "onnx"),
        ("fpn", "torchscript"),
        ("efficientnet_unet", "torchscript"),
        ("unet", "torchscript"),
        ("draem", "torchscript"),
    ],
)
def test_an_export_is_the_detector_at_any_batch_size(kind: str, to: Any, tmp_path: Path) -> None:
    detector, card, _ = open_trained(str(make_detector(tmp_path / "detector", kind)))
    told = export_detector(detector, card, to, str(tmp_path / "out"))
    assert (told["size_px"], told["threshold"], told["format"]) == (SIZE, 0.25, to)
    assert "image head" in told["outputs"]["score"]["is"] or kind != "fpn"
    places = [tmp_path / "out", tmp_path / "out" / FILES[to]]
    for place, count in zip(places, (1, 3), strict=True):
        opened = open_detector(str(place), batch_size=count)
        assert (opened.size_px, opened.threshold) == (SIZE, 0.25)
        for found, wanted in zip(opened.detect(images(count)), detector(images(count)), strict=True):
            assert found.dtype == np.float32
            assert np.abs(found - wanted).max() <= TOLERANCE
    batches = [open_detector(str(tmp_path / "out"), batch_size=size).detect(images(3))[0] for size in (1, 2)]
    assert np.abs(batches[0] - batches[1]).max() <= TOLERANCE


def test_an_export_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, card, _ = open_trained(str(make_detector(tmp_path / "detector", "unet")))
    monkeypatch.setattr(export, "load_export", lambda *_: lambda batch: [one + 0.01 for one in detector(batch)])
    with pytest.raises(RuntimeError, match=r"torchscript: differs from the torch detector by 0\.01; at most 0\.0001"):
        export_detector(detector, card, "torchscript", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_run_folder_means_its_stage_2(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("config: {}\n")
    with pytest.raises(RunError, match="stage 2 has no detector yet; run 'farm train'"):
        open_detector(str(tmp_path))
    folder = make_detector(tmp_path / "detectors" / "stage2", "unet", threshold=None)
    opened = open_detector(str(tmp_path))
    assert opened.threshold is None
    assert np.array_equal(opened.detect(images(2))[0], Detector.load(str(folder))(images(2))[0])


def test_what_is_no_detector_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no card\.json; give a run folder, a detector's folder or an exported"):
        open_detector(str(tmp_path))
    with pytest.raises(RunError, match=r"holds no model\.safetensors; give the folder of a trained detector"):
        open_trained(str(tmp_path))
    (tmp_path / "card.json").write_text("[]")
    with pytest.raises(RunError, match=r"card\.json: says no size_px"):
        open_detector(str(tmp_path))


def test_a_damaged_export_or_another_ones_card_is_refused(tmp_path: Path) -> None:
    detector, card, _ = open_trained(str(make_detector(tmp_path / "detector", "unet")))
    out = tmp_path / "out"
    export_detector(detector, card, "torchscript", str(out))
    with pytest.raises(RunError, match=r"is the card of model\.pt, not of model\.onnx; give each its own folder"):
        open_detector(str(out / "model.onnx"))
    (out / "model.pt").write_bytes((out / "model.pt").read_bytes()[:-100])
    with pytest.raises(RunError, match=r"model\.pt: is not what its card\.json says"):
        open_detector(str(out))


@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_bytes_of_something_else_are_refused(to: Any) -> None:
    with pytest.raises(WeightsError, match=r"^here: is (not an ONNX model|not a TorchScript module)"):
        export.load_export(b"cos\nsystem\n(S'true'\ntR.", to, "here")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(export, "import_module", absent)
    with pytest.raises(ConfigError, match=r"ONNX needs the package onnxruntime; pip install 'defectfarm\[export\]'"):
        export.load_export(b"", "onnx", "here")
