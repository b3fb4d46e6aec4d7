import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from farm.config import Run
from farm.datasets import load_photos
from farm.errors import ConfigError, RunError, WeightsError
from farm.fitting.adapters import adapter_sums, adapter_url, fitted_arms, read_adapter, write_adapter
from farm.fitting.build import adapter_card, build_task
from farm.prepare import prepare
from farm.stages.generate import Generate

TENSORS = {"lora.a": torch.arange(6.0).reshape(2, 3), "token.<disc>": torch.ones(4)}
CARD: dict[str, Any] = {
    "kind": "background_aware",
    "arm": "background_aware",
    "base": {"path": "embedded", "fingerprint": "b1"},
    "settings": {"rank": 4},
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    write_adapter(str(tmp_path / "adapter"), TENSORS, CARD)
    return str(tmp_path / "adapter")


def test_what_is_written_is_read(url: str) -> None:
    tensors, card = read_adapter(url, "background_aware", "b1", {"rank": 4})
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert {**CARD, **card} == card
    assert len(card["sha256"]) == 64


def test_an_absent_adapter_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere: holds no adapter \(no card.json\). Run 'farm fit CONFIG' first"):
        read_adapter(str(tmp_path / "nowhere"), "background_aware", "b1")


def test_an_adapter_without_its_card_is_not_finished(url: str) -> None:
    (Path(url) / "card.json").unlink()
    with pytest.raises(WeightsError, match="holds no adapter"):
        read_adapter(url, "background_aware", "b1")


def test_another_base_model_is_refused_with_both_names(url: str) -> None:
    with pytest.raises(WeightsError, match=r"on base model embedded \(fingerprint b1\); this run's model .* b2"):
        read_adapter(url, "background_aware", "b2")


def test_another_method_or_other_settings_are_refused(url: str) -> None:
    with pytest.raises(WeightsError, match="is an adapter of method 'background_aware'; this one is 'adabldm'"):
        read_adapter(url, "adabldm", "b1")
    with pytest.raises(WeightsError, match="was fitted with other settings"):
        read_adapter(url, "background_aware", "b1", {"rank": 8})


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "card"])
def test_damage_is_found(url: str, damage: str) -> None:
    weights, card = Path(url) / "adapter.safetensors", Path(url) / "card.json"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    match damage:
        case "flip":
            weights.write_bytes(data)
        case "cut":
            weights.write_bytes(data[:-5])
        case "gone":
            weights.unlink()
        case "card":
            card.write_text("{}")
    with pytest.raises(WeightsError, match=r"(is damaged|cannot be read|is not the card).*Run 'farm fit"):
        read_adapter(url, "background_aware", "b1")


def test_an_adapter_lies_in_the_run_unless_it_is_from_elsewhere(make: Callable[..., Run], tmp_path: Path) -> None:
    elsewhere = {"kind": "background_aware", "name": "other", "fit": {}, "adapter": "s3://shop/plates"}
    run = make(methods=[{"kind": "rules"}, {"kind": "background_aware", "fit": {}}, elsewhere])
    assert [adapter_url(run, method) for method in run.methods[1:]] == [
        str(tmp_path / "run" / "adapters" / "background_aware"),
        "s3://shop/plates",
    ]
    assert list(fitted_arms(run)) == ["background_aware"]


def test_the_card_says_what_was_learned_on_what(make: Callable[..., Run], tree: Path) -> None:
    (tree / "README.md").write_text("# Plates\n\n## Licence\n\nCC BY 4.0\n")
    run = make({"rank": 4})
    photos = load_photos(run.data)
    card = json.loads(json.dumps(adapter_card(run, "background_aware", 70)))
    assert card["base"]["fingerprint"] == build_task(run.model_dump_json(), "background_aware").backbone.fingerprint  # type: ignore[attr-defined]
    assert card["photographs"] == photos.fingerprint
    assert card["dataset"]["shots"] == [shot.photo_id for shot in photos.shots]
    assert card["dataset"]["licence"] == "CC BY 4.0"
    assert "CC BY 4.0" in card["licence"]
    assert card["settings"]["rank"] == 4
    assert card["steps"] == 70


def test_an_arm_without_a_fit_has_no_task(make: Callable[..., Run]) -> None:
    run = make(methods=[{"kind": "rules"}, {"kind": "background_aware", "fit": {}}])
    with pytest.raises(ConfigError, match=r"method 'rules': has nothing to fit .*: background_aware\)"):
        build_task(run.model_dump_json(), "rules")


def fitted(run: Run, steps: int) -> None:
    """Leave an adapter as a fit of so many ``steps`` would."""
    tensors = {"token.<disc>": torch.full((32,), float(steps))}
    write_adapter(adapter_url(run, run.methods[0]), tensors, adapter_card(run, "background_aware", steps))


def test_a_folder_never_mixes_images_of_two_adapters(make: Callable[..., Run], tmp_path: Path) -> None:
    run = make({"rank": 2}, data={"kind": "mvtec", "root": str(tmp_path / "plates"), "category": "plate"})
    folder, _ = prepare(run)
    assert adapter_sums(run) == {"background_aware": ""}
    judged, planned = folder.fingerprints()["judge"], folder.fingerprints()["plan"]
    fitted(run, 1)
    folder, _ = prepare(run)  # nothing is made yet: the adapter is noted
    first = folder.fingerprints()
    assert first["plan"] == planned
    assert first["judge"] != judged
    assert first["adapter background_aware"] == adapter_sums(run)["background_aware"] != ""
    fitted(run, 2)
    assert prepare(run)[0].fingerprints()["judge"] not in (judged, first["judge"])
    made = {"adapter": adapter_sums(run)["background_aware"]}
    folder.store.write("candidates/shard-000000/part.parquet", b"")
    folder.store.write("candidates/shard-000000/done.json", json.dumps(made).encode())
    prepare(run)
    fitted(run, 3)
    found = adapter_sums(run)["background_aware"]
    with pytest.raises(RunError, match=f"other adapters.*\n  background_aware: now {found}, .* {made['adapter']}\nPut"):
        prepare(run)


def test_weights_that_changed_after_planning_are_refused_before_a_row_is_made(make: Callable[..., Run]) -> None:
    run = make({"rank": 2})
    fitted(run, 1)
    _, plan = prepare(run)
    asked = []

    def built() -> None:
        asked.append(1)
        raise RunError("another adapter")

    stage = Generate(run, plan.photos, plan, lambda arm, photo: None, built)
    for _ in range(2):  # a retry in the same process is refused too
        with pytest.raises(RunError, match="another adapter"):
            stage.shard(0)
    assert len(asked) == 2


def test_runs_without_adapters_keep_their_fingerprints(make: Callable[..., Run]) -> None:
    run = make(methods=[{"kind": "rules"}])
    prints = prepare(run)[0].fingerprints()
    assert not [name for name in prints if name.startswith("adapter")]
