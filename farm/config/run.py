"""All settings of a run: what decides pixels, verdicts and weights, and, under ``cluster``, what is asked of Ray."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from farm.config.base import Frozen, Positive, Share
from farm.config.data import DataConfig, Prompts
from farm.config.methods import MethodConfig


class ModelConfig(Frozen):
    """The diffusion model: ``embedded``, a local diffusers folder or a hub id (safetensors only)."""

    path: str = "embedded"
    revision: str | None = None


class ComputeConfig(Frozen):
    """How a worker computes. Part of the plan's fingerprint, since it decides the last bits of a pixel."""

    device: str = Field(default="cpu", pattern=r"^(cpu|cuda)$")
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: Positive = 1  # torch threads of a generating or embedding worker
    batch_size: Positive = 8  # every batch is padded to this size


class EmbedConfig(Frozen):
    """The image embedder of the filter; ``model`` and ``pretrained`` are open_clip's names or local paths.

    The model "embedded" is the small CLIP of ``farm.mini``, which has its own weights.
    """

    kind: Literal["efficientnet_lite0", "open_clip"] = "efficientnet_lite0"
    model: str | None = None
    pretrained: str | None = None

    @model_validator(mode="after")
    def _open_clip_named(self) -> "EmbedConfig":
        if self.kind == "open_clip" and self.model == "embedded":
            if self.pretrained is not None:
                raise ValueError(
                    f"the embedded CLIP has its own weights; found pretrained {self.pretrained!r}, leave it out"
                )
        elif self.kind == "open_clip" and (self.model is None or self.pretrained is None):
            raise ValueError(
                "kind 'open_clip' needs model and pretrained (a registered tag or a local file), or model 'embedded'"
            )
        return self


class FilterConfig(Frozen):
    """When an image is refused (card 000 section 5). Cheap pixel gates come first, then retrieval, then duplicates."""

    neighbours: Positive = 5
    low_quantile: Share = 0.01
    low_margin: Annotated[float, Field(ge=0)] = 0.10
    high_quantile: Share = 0.99
    tiny_area: Share = 0.002
    min_mean_change: Annotated[float, Field(ge=0)] = 0.05  # of 255, over the whole image
    max_mean_change: Annotated[float, Field(gt=0)] = 60.0
    min_changed_area: Share = 0.0005
    max_changed_area: Share = 0.35
    min_ssim_outside: Annotated[float, Field(ge=-1, le=1)] = 0.85
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.995
    quota: Positive | None = None  # kept images at most for each (category, defect)


class DetectorConfig(Frozen):
    """The detector: EfficientNet-Lite0 encoder with a small U-Net decoder, or the plain U-Net of card 000."""

    kind: Literal["efficientnet_unet", "unet"] = "efficientnet_unet"
    width: Positive = 32


class StageConfig(Frozen):
    """One training stage. ``batch_size`` is global: over all workers together."""

    steps: Annotated[int, Field(ge=0)]
    batch_size: Positive = 16
    lr: Annotated[float, Field(gt=0)] = 3e-4
    checkpoint_every: Positive = 50


class TrainConfig(Frozen):
    """Two stages: many rule-based images, then few kept generated ones (card 000 section 4)."""

    seed: int = 0
    detector: DetectorConfig = DetectorConfig()
    stage1: StageConfig = StageConfig(steps=300)
    stage2: StageConfig = StageConfig(steps=60, lr=3e-5)
    normal_share: Share = 0.5
    replay: Share = 0.15  # share of rule-based images in a stage-2 batch

    @model_validator(mode="after")
    def _shares_fit(self) -> "TrainConfig":
        if self.normal_share + self.replay > 1:
            raise ValueError(f"normal_share + replay must be at most 1; found {self.normal_share} + {self.replay}")
        return self


class PoolConfig(Frozen):
    """One actor pool: how many actors, and what each asks of Ray."""

    actors: Positive = 1
    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_gib: Annotated[float, Field(ge=0)] = 0.0  # 0 = not asked for


class ClusterConfig(Frozen):
    """What is asked of Ray, phase by phase; the science never reads this."""

    address: str | None = None  # None = a local Ray started here
    num_cpus: Positive | None = None  # logical CPUs of a local Ray; None = the machine's
    num_gpus: Annotated[int, Field(ge=0)] = 0  # GPUs of a local Ray
    shard_rows: Positive = 32
    invert: PoolConfig = PoolConfig()
    generate: PoolConfig = PoolConfig()
    embed: PoolConfig = PoolConfig(cpus=0.5)
    write: PoolConfig = PoolConfig(cpus=0.25)
    judge: PoolConfig = PoolConfig()
    rules: PoolConfig = PoolConfig(cpus=0.5)
    fit: PoolConfig = PoolConfig()
    train: PoolConfig = PoolConfig(actors=2, cpus=0.5)
    evaluate: PoolConfig = PoolConfig()
    stall_timeout_s: Positive = 600


class Run(Frozen):
    """All settings of a run. ``output`` is the run folder (path or URL)."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    output: str = Field(min_length=1)
    seed: int = 0
    rows: Positive
    size_px: Annotated[int, Field(ge=32, le=2048, multiple_of=8)] = 128
    max_failed_fraction: Share = 0.1
    data: DataConfig
    prompts: Prompts
    model: ModelConfig = ModelConfig()
    compute: ComputeConfig = ComputeConfig()
    methods: tuple[MethodConfig, ...]
    embed: EmbedConfig = EmbedConfig()
    filter: FilterConfig = FilterConfig()
    train: TrainConfig = TrainConfig()
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _methods_named_once(self) -> "Run":
        found = self.arm_names()
        if not found or len(set(found)) != len(found):
            raise ValueError(f"methods: at least one, each name once; found {found}")
        return self

    def arm_names(self) -> list[str]:
        """The name of each method's rows, in config order."""
        return [method.name or method.kind for method in self.methods]
