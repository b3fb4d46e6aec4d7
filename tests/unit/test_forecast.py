"""What a target will take, from a pilot: by hand, with an interval, and held against what came of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from farm.config import PricesConfig, dump
from farm.errors import RunError
from farm.forecast import forecast, keep, last_error
from farm.run_folder import RunFolder
from jobs.plan import command
from tests.factories import make_run_folder
from tests.photos import make_run, make_tree


@pytest.fixture
def pilot(tmp_path: Path) -> RunFolder:
    """48 rows in 6 shards of 8: in each, row % 4 == 1 is refused and row % 8 == 7 failed, so 5 of 8 are kept."""
    return make_run_folder(tmp_path, rows=48, shard_rows=8)


def test_a_forecast_by_hand(pilot: RunFolder) -> None:
    run = pilot.run().model_copy(update={"prices": PricesConfig(device_hour=36.0)})
    made = forecast(run, pilot, 1000)
    device_s = sum(marker["costs"]["generate_s"] for marker in pilot.markers().values())
    assert (made.kept, made.shards, made.workers) == (30, 6, run.cluster.generate.actors)
    assert made.total("attempts").value == pytest.approx(1600)
    assert made.total("device_s").value == pytest.approx(1000 * device_s / 30)
    assert made.total("embed_s").value == pytest.approx(1000 * 0.3 * 6 / 30)
    assert made.total("money").value == pytest.approx(1000 * device_s / 30 / 100)
    assert made.total("bytes").value == pytest.approx(1000 * sum(m["bytes"] for m in pilot.markers().values()) / 30)


def test_hours_count_the_time_that_the_pilots_workers_waited(pilot: RunFolder) -> None:
    made = forecast(pilot.run(), pilot, 1000)
    busy = sum(marker["costs"]["generate_s"] for marker in pilot.markers().values()) / 183.2  # timing.json
    assert made.hours.value == pytest.approx(made.total("device_s").value / busy / 3600)


def test_equal_shards_leave_no_doubt_and_unequal_ones_do(pilot: RunFolder, tmp_path: Path) -> None:
    attempts = forecast(pilot.run(), pilot, 10).per_kept["attempts"]
    assert attempts.low == attempts.value == attempts.high  # 5 of 8 in every shard
    other = make_run_folder(tmp_path / "other", rows=48, shard_rows=7)
    attempts = forecast(other.run(), other, 10).per_kept["attempts"]
    assert attempts.low < attempts.value < attempts.high


def test_the_last_forecast_is_held_against_what_the_run_took(pilot: RunFolder, tmp_path: Path) -> None:
    assert last_error(pilot, pilot.run()) is None
    keep(pilot, forecast(pilot.run(), pilot, 48))
    full = make_run_folder(tmp_path / "full", rows=48, shard_rows=8)
    for shard, marker in full.markers().items():
        marker["costs"]["generate_s"] *= 1.25
        full.write_json(f"candidates/shard-{shard:06d}/done.json", marker)
    error = last_error(pilot, full.run())
    assert error is not None
    assert error["device_s"] == pytest.approx(0.25)
    assert error["attempts"] == pytest.approx(0)


def test_a_run_that_is_not_judged_yet_says_nothing_of_the_forecast(pilot: RunFolder, tmp_path: Path) -> None:
    keep(pilot, forecast(pilot.run(), pilot, 48))
    unjudged = make_run_folder(tmp_path / "unjudged", judged=False, evaluated=False)
    assert last_error(pilot, unjudged.run()) is None
    assert last_error(pilot, pilot.run().model_copy(update={"output": str(tmp_path / "nothing")})) is None


def test_a_pilot_that_is_too_short_is_refused(tmp_path: Path) -> None:
    short = make_run_folder(tmp_path, rows=16, shard_rows=8)
    with pytest.raises(RunError, match=r"2 shards with 10 kept images are too short a pilot; run one with at least 3"):
        forecast(short.run(), short, 10)


def test_the_command_tells_what_a_target_takes(pilot: RunFolder, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(dump(make_run(make_tree(tmp_path / "plates"), tmp_path / "out")))
    done = CliRunner().invoke(command, [str(config), "--target", "1000000", "--pilot", pilot.store.root])
    assert done.exit_code == 0, done.output
    assert "1000000 kept images, going by 30 kept in 6 shards" in done.output
    assert "images to make: 1,600,000.00  (95 %: 1,600,000.00 to 1,600,000.00)" in done.output
    assert "the last forecast was off by: not known yet" in done.output
