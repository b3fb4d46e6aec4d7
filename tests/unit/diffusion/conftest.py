from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from farm.config import ComputeConfig, ModelConfig
from farm.diffusion.backbone import Backbone, load_backbone
from tests.tiny import Kind, tiny_backbone_folder


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Path]:
    """A tiny folder of each family, made once."""
    return cache(lambda kind: tiny_backbone_folder(tmp_path_factory.mktemp(kind), kind=kind))


@pytest.fixture(scope="session")
def backbone_of(folder_of: Callable[[Kind], Path]) -> Callable[[Kind], Backbone]:
    """Its backbone, shared: tests change ``private()`` copies."""
    return cache(lambda kind: load_backbone(ModelConfig(path=str(folder_of(kind))), ComputeConfig()))


@pytest.fixture(scope="session")
def folder(folder_of: Callable[[Kind], Path]) -> Path:
    return folder_of("sd15")


@pytest.fixture(scope="session")
def backbone(backbone_of: Callable[[Kind], Backbone]) -> Backbone:
    return backbone_of("sd15")
