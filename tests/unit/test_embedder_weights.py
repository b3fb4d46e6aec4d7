"""What names an embedder's weights: contents where they lie on this disk, the name where a registry knows it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from farm import mini
from farm.config import EmbedConfig
from farm.embedders.weights import weights_fingerprint, weights_folder
from farm.errors import WeightsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def of_folder(kind: str, folder: Path) -> EmbedConfig:
    pretrained = "open_clip_model.safetensors" if kind == "open_clip" else None
    return EmbedConfig(kind=kind, model=str(folder), pretrained=pretrained)


@pytest.mark.parametrize("kind", ["open_clip", "timm", "transformers"])
def test_a_folder_is_named_by_what_it_holds(kind: str, folder: Path, tmp_path: Path) -> None:
    before = weights_fingerprint(of_folder(kind, folder))
    assert len(before) == 16
    shutil.copytree(folder, tmp_path / "copy")
    assert weights_fingerprint(of_folder(kind, tmp_path / "copy")) == before
    (folder / "README.md").write_text("not a part of the model")
    assert weights_fingerprint(of_folder(kind, folder)) == before
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        after = weights_fingerprint(of_folder(kind, folder))
        assert after != before
        before = after


@pytest.mark.parametrize(("kind", "model"), [("open_clip", "ViT-B-32"), ("timm", "test_vit")])
def test_a_file_is_named_by_what_it_holds(kind: str, model: str, tmp_path: Path) -> None:
    path = tmp_path / "fitted.safetensors"
    path.write_bytes(b"weights")
    config = EmbedConfig(kind=kind, model=model, pretrained=str(path))
    before = weights_fingerprint(config)
    path.write_bytes(b"others")
    assert weights_fingerprint(config) != before


def test_a_config_file_counts_beside_its_checkpoint(tmp_path: Path) -> None:
    paths = [tmp_path / "clip.json", tmp_path / "clip.safetensors"]
    for path in paths:
        path.write_bytes(b"{}")
    first, second = weights_fingerprint(
        EmbedConfig(kind="open_clip", model=str(paths[0]), pretrained=str(paths[1]))
    ).split()
    assert first != second  # names count


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kind": "pixels"},
        {"kind": "open_clip", "model": "ViT-B-32", "pretrained": "laion2b_s34b_b79k"},
        {"kind": "timm", "model": "vit_small_patch14_dinov2.lvd142m"},
    ],
)
def test_a_registered_name_says_it_all(settings: dict[str, Any]) -> None:
    assert weights_fingerprint(EmbedConfig(**settings)) == ""


def test_the_embedded_clip_keeps_its_name() -> None:
    assert weights_fingerprint(EmbedConfig(kind="open_clip", model="embedded")) == mini.clip_fingerprint()


@pytest.mark.parametrize("given", ["owner/name", "hf-hub:owner/name", "owner/name@v1"])
def test_a_hub_id_is_fetched_without_pickles(given: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert weights_folder(EmbedConfig(kind="timm", model=given)) == folder
    assert (asked["name"], asked["revision"]) == ("owner/name", "v1" if given.endswith("@v1") else None)
    assert asked["allow_patterns"] == ["*.json", "*.txt", "*.safetensors"]
    assert weights_fingerprint(EmbedConfig(kind="timm", model=given)) == weights_fingerprint(of_folder("timm", folder))


@pytest.mark.parametrize("kind", ["timm", "transformers"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("owner/name", r"owner/name: is no local folder and .*; give the path of the model's folder as embed\.model"),
        ("/nowhere/vit", r"/nowhere/vit: no such folder, nor a hub id \(owner/name\); set embed\.model to one"),
    ],
)
def test_what_is_not_there_is_said_before_anything_starts(
    kind: str, model: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=message):
        weights_fingerprint(EmbedConfig(kind=kind, model=model))


def test_a_file_that_is_not_there_or_a_pickle_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "vit.pth").write_bytes(b"")
    for name, message in (
        ("vit.pth", "weights are a pickle"),
        ("vit.safetensors", r"no such \.safetensors file; give"),
    ):
        with pytest.raises(WeightsError, match=message):
            weights_fingerprint(EmbedConfig(kind="timm", model="test_vit", pretrained=str(tmp_path / name)))


def test_a_bare_name_is_none_of_transformers() -> None:
    with pytest.raises(WeightsError, match=r"dinov2-small: no such folder, nor a hub id"):
        weights_fingerprint(EmbedConfig(kind="transformers", model="dinov2-small"))
