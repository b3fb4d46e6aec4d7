"""A run's settings: frozen pydantic models read from YAML. Unknown keys are refused, all errors are listed at once."""

from farm.config.base import Frozen, Positive, Share
from farm.config.data import DataConfig, DefectPrompt, Prompts
from farm.config.load import dump, load, parse
from farm.config.loop import LoopConfig
from farm.config.methods import (
    AdaBldmConfig,
    AdaptConfig,
    BackgroundAwareConfig,
    ControlFit,
    FitConfig,
    LoraFit,
    Masks,
    Material,
    MethodBase,
    MethodConfig,
    RulesConfig,
    TranslateConfig,
)
from farm.config.run import (
    ClusterConfig,
    ComputeConfig,
    DetectorConfig,
    EmbedConfig,
    FilterConfig,
    ModelConfig,
    PoolConfig,
    Run,
    StageConfig,
    TrainConfig,
)

__all__ = [
    "AdaBldmConfig",
    "AdaptConfig",
    "BackgroundAwareConfig",
    "ClusterConfig",
    "ComputeConfig",
    "ControlFit",
    "DataConfig",
    "DefectPrompt",
    "DetectorConfig",
    "EmbedConfig",
    "FilterConfig",
    "FitConfig",
    "Frozen",
    "LoopConfig",
    "LoraFit",
    "Masks",
    "Material",
    "MethodBase",
    "MethodConfig",
    "ModelConfig",
    "PoolConfig",
    "Positive",
    "Prompts",
    "RulesConfig",
    "Run",
    "Share",
    "StageConfig",
    "TrainConfig",
    "TranslateConfig",
    "dump",
    "load",
    "parse",
]
