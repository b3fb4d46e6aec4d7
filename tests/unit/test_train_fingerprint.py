"""The name of a training: what decides weights changes it; settings that came later do not while they are unused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.numpy import save_file

from cluster.train import _fingerprint, _told
from farm.config import DetectorConfig, Run, StageConfig
from farm.run_folder import RunFolder
from tests.photos import make_run


def name(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
    monkeypatch.setattr("cluster.train.read_index", lambda _: SimpleNamespace(fingerprint="photographs"))
    run: Run = make_run(Path("plates"), Path("run"), **changes)
    return _fingerprint(run, RunFolder("run"), "stage1")


def test_what_was_trained_before_keeps_its_name() -> None:
    assert _told(DetectorConfig()) == {"kind": "efficientnet_unet", "width": 32}
    assert _told(StageConfig(steps=5)) == {"steps": 5, "batch_size": 16, "lr": 3e-4}


def test_each_setting_that_decides_weights_changes_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import numpy as np

    fpn = {"kind": "fpn", "encoder": "test_vit", "encoder_weights": str(tmp_path)}
    save_file({"a": np.zeros(1)}, tmp_path / "model.safetensors")
    changes: list[dict[str, Any]] = [
        {},
        {"train": {"detector": {"kind": "draem"}}},
        {"train": {"detector": {"kind": "fpn"}}},
        {"train": {"detector": {"kind": "fpn", "encoder": "test_vit"}}},
        {"train": {"detector": fpn}},
        {"train": {"stage1": {"steps": 300, "accumulate": 2}}},
        {"train": {"validation_share": 0.1}},
        {"train": {"compile": True}},
        {"compute": {"dtype": "bfloat16", "batch_size": 4}},
    ]
    names = [name(monkeypatch, **change) for change in changes]
    assert len(set(names)) == len(names)
    assert name(monkeypatch, compute={"dtype": "float16", "batch_size": 4}) == names[0]
    save_file({"a": np.ones(1)}, tmp_path / "model.safetensors")
    assert name(monkeypatch, train={"detector": fpn}) not in names
