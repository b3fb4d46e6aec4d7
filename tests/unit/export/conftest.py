"""One judged run for the tests that only read it."""

from pathlib import Path

import pytest

from farm.run_folder import RunFolder
from tests.exports import make_judged_run


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_judged_run(tmp_path_factory.mktemp("judged"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
