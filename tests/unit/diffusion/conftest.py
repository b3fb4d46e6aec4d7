from pathlib import Path

import pytest

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import Backbone, load_backbone
from tests.tiny import tiny_backbone_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def backbone(folder: Path) -> Backbone:
    return load_backbone(ModelConfig(path=str(folder)), ComputeConfig())
