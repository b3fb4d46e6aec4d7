"""``farm fit`` on a real local Ray: adapters from few shots, made once, and a run that uses them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from farm.config import Run
from farm.datasets import load_photos
from farm.errors import RunError
from farm.fitting.adapters import adapter_sums, is_current
from farm.images import decode_image
from tests.photos import make_run, make_tree
from tests.tiny import tiny_backbone_folder

pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(600)]

LOOP = {"steps": 3, "batch_size": 2, "lr": 1e-3, "warmup": 1, "checkpoint_every": 2, "bf16": False}
PROMPTS = {"normal": "a plate", "defects": [{"name": "disc", "prompt": "a disc"}]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Two arms that learn, one that does not, on a tiny random model; paths are relative, as people write them."""
    place, before = tmp_path_factory.mktemp("fit"), Path.cwd()
    aware = {"kind": "background_aware", "steps": 3, "fixed_point": 0, "sources": 4, "min_visible": 0}
    methods: list[dict[str, Any]] = [
        {"kind": "rules"},
        {**aware, "fit": {"rank": 2, "loop": LOOP}},
        {"kind": "adabldm", "steps": 10, "sources": 4, "min_visible": 0, "fit": {"loop": LOOP}},
    ]
    model = {"path": str(tiny_backbone_folder(place / "model"))}
    make_tree(place / "plates")
    os.chdir(place)
    yield make_run(Path("plates"), Path("run"), methods=methods, model=model, prompts=PROMPTS)
    os.chdir(before)


def farm(command: str, run: Run) -> Any:
    from importlib import import_module

    config = Path(run.output).with_suffix(".yaml")
    config.write_text(yaml.safe_dump(run.model_dump(mode="json")))
    done = CliRunner().invoke(import_module(f"jobs.{command}").command, [str(config), "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_fit_leaves_adapters_once_and_a_run_uses_them(run: Run) -> None:
    made = farm("fit", run)
    folder, photos = Path(run.output), load_photos(run.data)
    assert made.keys() == {"background_aware", "adabldm"}
    for arm, told in made.items():
        card = json.loads((folder / "adapters" / arm / "card.json").read_text())
        assert (card["kind"], card["steps"], card["sha256"]) == (arm, 3, told["sha256"])
        assert card["photographs"] == photos.fingerprint
        assert card["dataset"]["shots"] == [shot.photo_id for shot in photos.shots]
        assert is_current(run, photos, arm)
        pictures = sorted((folder / "adapters" / arm / "fit").glob("*.png"))
        assert [path.stem[-6:] for path in pictures] == ["000002", "000003"]
        assert all(decode_image(path.read_bytes(), path.name).std() > 1 for path in pictures)
    before = files(folder / "adapters")
    counts = farm("generate", run)["counts"]
    assert files(folder / "adapters") == before
    assert counts["planned"] == counts["kept"] + counts["refused"] + counts["failed"] == run.rows
    assert counts["failed"] == 0
    settled = yaml.safe_load((folder / "run.yaml").read_text())["fingerprints"]
    assert {name.removeprefix("adapter "): value for name, value in settled.items() if name.startswith("adapter ")} == (
        adapter_sums(run)
    )


def test_an_adapter_that_changed_under_its_images_is_refused(run: Run) -> None:
    if not (Path(run.output) / "candidates").is_dir():
        pytest.skip("needs the run that the test before makes")
    card = Path(run.output) / "adapters" / "adabldm" / "card.json"
    card.write_text(card.read_text().replace(json.loads(card.read_text())["sha256"], "0" * 64))
    with pytest.raises(RunError, match="its images were made with other adapters"):
        farm("generate", run)
