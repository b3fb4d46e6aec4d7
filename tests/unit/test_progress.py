import pytest

from cluster.flow import check_failures, keep_seconds
from cluster.progress import Shown
from farm.errors import RunError
from tests.factories import make_run_folder


def test_a_log_gets_one_line_at_each_end_of_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown()
    shown.start("generate", 8, "shards")
    shown.advance(8, {"rows": 128, "failed": 2})
    shown.finish("generate", 94.06, ok=True)
    shown.start("judge", 0, "shards")
    shown.finish("judge", 0.0, ok=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "generate: 8 shards to do",
        "generate: done in 94.1 s (128 rows, 2 failed)",
        "judge: done before",
    ]


def test_a_phase_that_broke_does_not_say_done(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown()
    shown.start("generate", 8, "shards")
    shown.finish("generate", 3.0, ok=False)
    assert "generate: stopped in 3.0 s" in capsys.readouterr().err


def test_seconds_of_a_phase_replace_the_old_ones(tmp_path) -> None:
    folder = make_run_folder(tmp_path)
    folder.write_json("timing.json", {"phases": []})
    keep_seconds(folder, "generate", 10.0, 3)
    keep_seconds(folder, "judge", 1.0, 3)
    keep_seconds(folder, "generate", 20.0, 5)
    phases = {phase["name"]: phase for phase in folder.read_json("timing.json")["phases"]}
    assert phases["generate"] == {"name": "generate", "seconds": 20.0, "rows": 5}
    assert len(phases) == 2


def test_failures_within_the_budget_pass_and_above_it_are_listed(tmp_path) -> None:
    folder = make_run_folder(tmp_path)
    failed = sum(folder.done(shard)["failed"] for shard in range(folder.shard_count()))
    assert failed
    run = folder.run()
    check_failures(folder, run.model_copy(update={"max_failed_fraction": failed / run.rows}))
    with pytest.raises(RunError, match=rf"{failed} of {run.rows} rows failed") as caught:
        check_failures(folder, run.model_copy(update={"max_failed_fraction": 0.0}))
    assert "raise max_failed_fraction" in str(caught.value)
