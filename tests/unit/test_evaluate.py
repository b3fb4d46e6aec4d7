"""A detector held against photographs: who may be scored, which numbers are there, and that none is lost."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from farm.config import DataConfig, Run
from farm.datasets import load_photos, read_channels, read_mask
from farm.datasets.photo import TestPhoto
from farm.errors import RunError
from farm.evaluate import Evaluator, Scored, evaluation_fingerprint, measure, read_evaluation, shown_places
from farm.evaluate import write_evaluation as write
from farm.images import decode_mask
from farm.metrics import SPRO_LIMITS, auspro, pixel_metrics
from farm.run_folder import RunFolder
from farm.source_index import write_index
from tests.layouts import make_loco
from tests.photos import make_run, make_tree


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(make_tree(tmp_path / "plates"), tmp_path / "run")


@pytest.fixture
def folder(run: Run) -> RunFolder:
    folder = RunFolder(run.output)
    folder.store.write("run.yaml", yaml.safe_dump({"config": run.model_dump(mode="json")}).encode())
    write_index(folder, load_photos(run.data))
    folder.write_json("detectors/stage1/card.json", {"sha256": "abc"})
    return folder


def darkness(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A detector that finds dark pixels: the discs are a third as bright as the plates."""
    maps = 1 - images.mean(axis=-1, dtype=np.float32) / 255
    return maps, maps.reshape(len(maps), -1).max(axis=1)


def scored(run: Run) -> Scored:
    return Evaluator(darkness, run.size_px, batch_size=3).evaluate(load_photos(run.data).test)


def test_only_test_photographs_are_scored(run: Run) -> None:
    photos = load_photos(run.data)
    evaluator = Evaluator(darkness, run.size_px)
    with pytest.raises(TypeError, match="an evaluator takes TestPhoto only; found ShotPhoto, TrainPhoto"):
        evaluator.evaluate([*photos.test, photos.train[0], photos.shots[0]])  # type: ignore[list-item]


def test_shares_of_several_workers_are_the_whole(run: Run, folder: RunFolder) -> None:
    photos, evaluator = load_photos(run.data).test, Evaluator(darkness, run.size_px, batch_size=3)
    whole = write(run, folder, "stage1", [evaluator.evaluate(photos)])
    before = folder.store.read("evaluation/stage1/scores.parquet")
    parts = [evaluator.evaluate(photos, range(rank, len(photos), 3)) for rank in (2, 0, 1)]
    assert write(run, folder, "stage1", parts) == whole
    assert folder.store.read("evaluation/stage1/scores.parquet") == before


@pytest.mark.parametrize("places", [range(7), [*range(8), 3], [*range(7), 6]])
def test_a_photograph_lost_or_scored_twice_is_an_error(run: Run, folder: RunFolder, places: list[int]) -> None:
    photos = load_photos(run.data).test
    part = Evaluator(darkness, run.size_px).evaluate(photos, places)
    with pytest.raises(RuntimeError, match=r"8 test photographs, but \d scores of [78] of them"):
        write(run, folder, "stage1", [part])


def test_numbers_are_those_of_the_metrics(run: Run) -> None:
    photos, result = load_photos(run.data).test, scored(run)
    found = measure(photos, result.scores, result.maps, 50.0)
    assert (found["n_good"], found["n_defect"], found["n_masks"]) == (4, 4, 4)
    masks = np.stack(
        [decode_mask(Path(p.mask_path).read_bytes(), "") if p.mask_path else np.zeros((64, 64)) for p in photos]
    )
    assert {name: found[name] for name in pixel_metrics(result.maps, masks)} == pixel_metrics(result.maps, masks)
    assert found["image_auroc"] == found["image_recall_at_far_1pct"] == 1.0
    assert found["image_far_at_full_recall"] == 0.0
    assert found["by_defect"] == {"disc": {key: value for key, value in found.items() if key != "by_defect"}}


def test_regions_of_loco_are_measured_at_their_own_resolution(tmp_path: Path) -> None:
    """Maps of half the size: the regions' corners lie on even pixels, so a perfect map stays nearly perfect."""
    root = make_loco(tmp_path / "pins")
    config = DataConfig(kind="loco", root=str(root), category="pins", few_shot="none")
    photos = load_photos(config).test
    maps = np.stack([read_mask(photo, 8).astype(np.float32) for photo in photos])
    found = measure(photos, maps.max(axis=(1, 2)), maps, 50.0)
    channels = [read_channels(photo) for photo in photos]
    large = [cv2.resize(values, (16, 16)) for values in maps]
    wanted = auspro(large, [one.masks for one in channels], [one.saturations.tolist() for one in channels])
    assert [found[f"auspro_{limit:g}"] for limit in SPRO_LIMITS] == pytest.approx(wanted)
    assert found["auspro_0.05"] > 0.9
    assert found["image_auroc_mean"] == 1.0
    assert sorted(found["by_defect"]) == ["logical_anomalies", "structural_anomalies"]
    assert found["by_defect"]["logical_anomalies"]["n_masks"] == 3


def test_what_the_data_does_not_define_is_absent(run: Run) -> None:
    photos, result = load_photos(run.data).test, scored(run)
    bare = [
        TestPhoto(**{field: getattr(photo, field) for field in photo.__dataclass_fields__} | {"mask_path": None})
        for photo in photos
    ]
    found = measure(bare, result.scores, result.maps, 50.0)
    assert found["n_masks"] == 0
    assert "image_auroc" in found
    assert not any(name.startswith("pixel") or name == "aupro" for name in found)
    good = [place for place, photo in enumerate(photos) if photo.is_good]
    only_good = measure([photos[place] for place in good], result.scores[good], result.maps[good], 50.0)
    assert only_good == {"n_good": 4, "n_defect": 0, "n_masks": 0, "by_defect": {}}


def test_a_finished_evaluation_is_found_until_the_detector_changes(run: Run, folder: RunFolder) -> None:
    assert read_evaluation(run, folder, "stage1") is None
    metrics = write(run, folder, "stage1", [scored(run)])
    assert read_evaluation(run, folder, "stage1") == metrics
    assert len(list(folder.store.names("evaluation/stage1/maps"))) == 8
    folder.write_json("detectors/stage1/card.json", {"sha256": "other"})
    assert read_evaluation(run, folder, "stage1") is None


def test_an_untrained_stage_is_refused(run: Run, folder: RunFolder) -> None:
    with pytest.raises(RunError, match="stage2 has no detector yet; run 'farm train' first"):
        evaluation_fingerprint(run, folder, "stage2")


def test_heat_maps_are_shared_evenly_by_the_classes(run: Run) -> None:
    photos = load_photos(run.data).test
    assert shown_places(photos) == list(range(8))
    chosen = [photos[place].defect for place in shown_places(photos, limit=4)]
    assert sorted(chosen, key=str) == [None, None, "disc", "disc"]
