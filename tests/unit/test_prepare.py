"""Whose a run folder is: settled by its first committed shard, or by a driver at work on it."""

from pathlib import Path

import pytest

from farm.errors import RunError
from farm.lease import Lease
from farm.prepare import prepare
from farm.run_folder import RunFolder
from farm.stages.generate import Generate
from farm.stages.write import Write
from tests.photos import make_run, make_tree
from tests.stages import embeddings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "plates")


def test_a_folder_without_images_takes_another_config(root: Path, tmp_path: Path) -> None:
    prepare(make_run(root, tmp_path / "run"))
    folder, plan = prepare(make_run(root, tmp_path / "run", seed=9))
    assert folder.run().seed == 9
    assert folder.fingerprints()["plan"] == plan.fingerprint


def test_a_folder_with_one_committed_shard_does_not(root: Path, tmp_path: Path) -> None:
    folder, plan = prepare(make_run(root, tmp_path / "run"))
    batch, _ = Generate(plan.run, plan.photos, plan, lambda arm, photo: None).shard(0)
    Write(folder, plan).commit(0, batch | embeddings(4), {})
    with pytest.raises(RunError, match="was made by another config"):
        prepare(make_run(root, tmp_path / "run", seed=9))
    assert RunFolder(str(tmp_path / "run")).run().seed == 0


def test_a_folder_that_a_driver_works_on_does_not(root: Path, tmp_path: Path) -> None:
    folder, _ = prepare(make_run(root, tmp_path / "run"))
    lease = Lease.take(folder.store, "farm run")
    with pytest.raises(RunError, match="was made by another config"):
        prepare(make_run(root, tmp_path / "run", seed=9))
    lease.release()
    prepare(make_run(root, tmp_path / "run", seed=9))


def test_other_weights_under_the_same_path_are_named(root: Path, tmp_path: Path) -> None:
    weights = tmp_path / "fitted.safetensors"
    weights.write_bytes(b"once")
    run = make_run(root, tmp_path / "run", embed={"kind": "timm", "model": "test_vit", "pretrained": str(weights)})
    folder, plan = prepare(run)
    batch, _ = Generate(plan.run, plan.photos, plan, lambda arm, photo: None).shard(0)
    Write(folder, plan).commit(0, batch | embeddings(4), {})
    prepare(run)
    weights.write_bytes(b"again")
    with pytest.raises(
        RunError, match=r"the weights of embed\.model: are not those that the folder's vectors were made"
    ):
        prepare(run)
