import subprocess
import sys
from pathlib import Path

import pytest

from farm.attempts import begin
from farm.stages.hands import Watched
from farm.store import Store

HANG = """
import sys, time
from farm.attempts import begin
from farm.stages.hands import Watched
from farm.store import Store
attempt = begin(Store(sys.argv[1]), 0, "generate", "worker", "driver")
with Watched(attempt, 0.5) as hands:
    hands.hold([4])
    {hang}
"""


@pytest.mark.parametrize("hang", ["time.sleep(60)", "sum(range(10**12))"])  # the second never lets go of the GIL
def test_a_batch_that_hangs_ends_its_process_and_says_where_it_stood(tmp_path: Path, hang: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANG.format(hang=hang), str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert 'File "<string>", line 9' in done.stderr
    assert begin(Store(str(tmp_path)), 0, "generate", "w", "driver").blame.dead == 1


def test_the_clock_stops_with_the_shard_and_an_error_is_no_death(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    code = HANG.format(hang="pass") + "time.sleep(1.0)\nprint('alive')"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "alive\n")
    with pytest.raises(ValueError, match="words"), Watched(begin(store, 1, "embed", "w", "d"), 60):
        raise ValueError("words")
    assert begin(store, 1, "embed", "w", "d").blame.dead == 0
