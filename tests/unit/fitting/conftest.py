from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farm.config import Run
from tests.photos import make_run, make_tree
from tests.tiny import tiny_backbone_folder

PROMPTS = {"normal": "a plate", "defects": [{"name": "disc", "prompt": "a disc"}]}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return tiny_backbone_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Plates of 64 px: 12 normals, 2 few-shot discs, 4 good ones and 4 discs to test on."""
    return make_tree(tmp_path / "plates")


@pytest.fixture
def make(tree: Path, folder: Path, tmp_path: Path) -> Callable[..., Run]:
    """Runs over ``tree`` with the tiny model and one ``background_aware`` arm; settings of its ``fit`` may be given."""

    def build(fit: dict[str, Any] | None = None, **changes: Any) -> Run:
        method = {"kind": "background_aware", "steps": 3, "fixed_point": 0, "fit": fit or {}}
        settings = {"prompts": PROMPTS, "model": {"path": str(folder)}, "methods": [method]}
        return make_run(tree, tmp_path / "run", **(settings | changes))

    return build
