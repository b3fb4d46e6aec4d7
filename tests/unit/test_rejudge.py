"""``farm judge``: other thresholds on a finished run, from stored vectors alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from farm.config import Run
from farm.errors import ConfigError, RunError
from farm.lease import Lease
from farm.parts import to_parquet
from farm.rejudge import change_filter, rejudge
from farm.run_folder import RunFolder
from jobs.judge import command
from tests.loop import run_in_a_loop
from tests.photos import make_run, make_tree


def plates(root: Path, output: Path, **filters: float) -> Run:
    settings = {"near_duplicate": 1.0, "low_margin": 0.5, **filters}
    return make_run(root, output, rows=24, embed={"kind": "pixels"}, filter=settings)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"))


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "run"
    run_in_a_loop(plates(root, output))
    return output


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> RunFolder:
    """A finished and judged run of its own."""
    subprocess.run(["cp", "-r", str(made), str(tmp_path / "run")], check=True)
    return RunFolder(str(tmp_path / "run"))


def bytes_below(folder: RunFolder, part: str) -> dict[str, bytes]:
    return {name: folder.store.read(name) for name in folder.store.names(part)}


def verdicts(folder: RunFolder) -> dict[str, bytes]:
    table = folder.verdicts()
    return {name: to_parquet(table.select([name])) for name in table.column_names}


def test_another_threshold_gives_the_verdicts_of_a_run_made_with_it(
    folder: RunFolder, root: Path, tmp_path: Path
) -> None:
    before, images = verdicts(folder), bytes_below(folder, "candidates")
    change_filter(folder, ["filter.near_duplicate=0.999", "filter.min_changed_area=0.01"])
    assert rejudge(folder)
    after = verdicts(folder)
    assert after["keep"] != before["keep"]
    run_in_a_loop(plates(root, tmp_path / "other", near_duplicate=0.999, min_changed_area=0.01))
    assert after == verdicts(RunFolder(str(tmp_path / "other")))
    assert bytes_below(folder, "candidates") == images


def test_settings_that_judged_before_need_no_work(folder: RunFolder) -> None:
    before = verdicts(folder)
    assert not rejudge(folder)
    change_filter(folder, ["filter.max_changed_area=0.01"])
    assert rejudge(folder)
    change_filter(folder, ["filter.max_changed_area=0.35"])
    assert not rejudge(folder)
    assert verdicts(folder) == before


def test_what_decides_images_is_not_changed_here(folder: RunFolder) -> None:
    before = folder.store.read("run.yaml")
    with pytest.raises(ConfigError, match=r"'rows=9': judging again changes the filter only"):
        change_filter(folder, ["rows=9"])
    with pytest.raises(ConfigError, match=r"filter\.low_margn"):
        change_filter(folder, ["filter.low_margn=1"])
    assert folder.store.read("run.yaml") == before


def test_a_damaged_copy_of_the_small_columns_is_made_anew(folder: RunFolder) -> None:
    change_filter(folder, ["filter.max_changed_area=0.01"])
    rejudge(folder)
    wanted = verdicts(folder)
    for name in folder.store.names("facts"):
        data = bytearray(folder.store.read(name))
        middle = len(data) // 3
        data[middle : middle + 40] = bytes(byte ^ 255 for byte in data[middle : middle + 40])
        folder.store.write(name, bytes(data))
    folder.store.remove(folder.verdict_name("verdicts.parquet"))
    rejudge(folder)
    assert verdicts(folder) == wanted


def test_a_run_that_lacks_shards_says_what_to_do(folder: RunFolder) -> None:
    folder.forget_shard(1)
    change_filter(folder, ["filter.max_changed_area=0.01"])
    with pytest.raises(RunError, match=r"1 of 6 shards and 0 of 1 blocks .* run 'farm generate'"):
        rejudge(folder)


def test_the_command_tells_counts_and_leaves_no_lease(folder: RunFolder) -> None:
    done = CliRunner().invoke(command, [folder.store.root, "--set", "filter.max_changed_area=0.01", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert told["judged"]
    assert told["counts"]["planned"] == 24
    assert not folder.store.exists("lease.json")


def test_a_run_that_a_driver_works_on_is_left_alone(folder: RunFolder) -> None:
    lease = Lease.take(folder.store, "farm run")
    done = CliRunner().invoke(command, [folder.store.root])
    lease.release()
    assert "is at work on it" in str(done.exception)


def test_neither_torch_nor_ray_is_needed(folder: RunFolder) -> None:
    change_filter(folder, ["filter.max_changed_area=0.01"])
    code = (
        "import sys; from farm.rejudge import rejudge; from farm.run_folder import RunFolder; "
        "rejudge(RunFolder(sys.argv[1])); sys.exit(bool({'torch', 'ray'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code, folder.store.root], check=True)
