"""All settings of a run: what decides pixels, verdicts and weights, and, under ``cluster``, what is asked of Ray."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from farm.config.base import Frozen, Positive, Seed, Share, Text
from farm.config.data import DataConfig, Prompts
from farm.config.embed import EmbedConfig
from farm.config.methods import DualConfig, MethodConfig

PACKAGED_ENCODER = "efficientnet_lite0"


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


class FilterConfig(Frozen):
    """When an image is refused (card 000 section 5). Cheap pixel gates come first, then retrieval, then duplicates."""

    neighbours: Positive = 5
    low_quantile: Share = 0.01
    low_margin: Annotated[float, Field(ge=0)] = 0.10
    high_quantile: Share = 0.99
    tiny_area: Share = 0.002
    min_mean_change: Annotated[float, Field(ge=0)] = 0.002  # of 255, over the whole image
    max_mean_change: Annotated[float, Field(gt=0)] = 60.0
    min_changed_area: Share = 0.0005
    max_changed_area: Share = 0.35
    min_contrast: Annotated[float, Field(ge=0)] = 5.0  # of 255, mean over the changed pixels
    min_ssim_outside: Annotated[float, Field(ge=-1, le=1)] = 0.85
    max_grain: Annotated[float, Field(gt=0)] = 1.5  # times ``high_quantile`` of the real defects' grain
    crop_margin: Annotated[float, Field(ge=0)] = 0.15  # below ``low_quantile`` of the crops; needs embed.crops
    min_text_margin: Annotated[float, Field(ge=-2, le=2)] | None = None  # needs embed.text_margin
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = 0.995
    copy_of_photo: Annotated[float, Field(gt=0, le=1)] = 0.995  # cosine of a copy, if no normal is as near
    quota: Positive | None = None  # kept images at most for each (category, defect)
    select: Positive | None = None  # defect images in all, chosen to cover what is kept; None = all of it


class DetectorConfig(Frozen):
    """The detector: a pretrained encoder with a U-Net or feature-pyramid decoder, or U-Net or DRAEM of card 000."""

    kind: Literal["efficientnet_unet", "fpn", "unet", "draem"] = "efficientnet_unet"
    width: Positive = 32
    encoder: Text = PACKAGED_ENCODER  # of fpn: this, or a model id of timm, e.g. vit_small_patch14_dinov2.lvd142m
    encoder_weights: Text | None = (
        None  # of fpn: its safetensors, a file or a folder; None = the package's or the hub's
    )

    @model_validator(mode="after")
    def _encoder_is_read(self) -> "DetectorConfig":
        if self.kind != "fpn" and self.encoder != PACKAGED_ENCODER:
            raise ValueError(f"encoder is for kind fpn; found encoder '{self.encoder}' with kind '{self.kind}'")
        if self.encoder_weights is not None and self.encoder == PACKAGED_ENCODER:
            raise ValueError(f"encoder_weights needs an encoder of timm; {PACKAGED_ENCODER} has packaged weights")
        return self

    @property
    def reconstructs(self) -> bool:
        """Whether it learns from sources, the images without their defects, too."""
        return self.kind == "draem"

    @property
    def mixes_rows(self) -> bool:
        """Whether BatchNorm learns from a batch, so that a row's result in training depends on its neighbours."""
        return self.kind in ("unet", "draem")


class StageConfig(Frozen):
    """One training stage. ``batch_size`` is global: over all workers together."""

    steps: Annotated[int, Field(ge=0)]
    batch_size: Positive = 16
    accumulate: Positive = 1  # equal parts in which a worker takes its share of a batch, for want of memory
    lr: Annotated[float, Field(gt=0)] = 3e-4
    checkpoint_every: Positive = 50


class TrainConfig(Frozen):
    """Two stages: many rule-based images, then few kept generated ones (card 000 section 4)."""

    seed: Seed = 0
    detector: DetectorConfig = DetectorConfig()
    stage1: StageConfig = StageConfig(steps=300)
    stage2: StageConfig = StageConfig(steps=60, lr=3e-5)
    compile: bool = False  # torch.compile: minutes at the start, faster steps after
    normal_share: Share = 0.5
    replay: Share = 0.15  # share of rule-based images in a stage-2 batch
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of normals and kept rows, held out; 0 = no validation

    @model_validator(mode="after")
    def _shares_fit(self) -> "TrainConfig":
        if self.normal_share + self.replay > 1:
            raise ValueError(f"normal_share + replay must be at most 1; found {self.normal_share} + {self.replay}")
        return self


class PoolConfig(Frozen):
    """One actor pool: how many actors, and what each asks of Ray."""

    actors: Positive = 1  # always there: the least that is asked for
    max_actors: Positive | None = None  # the pool follows the cluster up to so many; None = it stays at ``actors``
    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_gib: Annotated[float, Field(ge=0)] = 0.0  # 0 = not asked for
    labels: Annotated[str, Field(pattern=r"^([^=,\s]+=[^=,\s]+(,[^=,\s]+=[^=,\s]+)*)?$")] = (
        ""  # of its nodes: "pool=gpu"
    )

    @property
    def label_selector(self) -> dict[str, str] | None:
        """The labels that a node must have, as Ray takes them; None = any node."""
        return dict(label.split("=") for label in self.labels.split(",")) if self.labels else None

    @model_validator(mode="after")
    def _most_is_not_least(self) -> "PoolConfig":
        if self.max_actors is not None and self.max_actors < self.actors:
            raise ValueError(f"max_actors must be at least actors; found {self.max_actors} and {self.actors}")
        return self


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
    stall_timeout_s: Positive = 600  # a worker whose batch takes longer is ended and replaced


class BudgetConfig(Frozen):
    """How the rows are shared out over the methods: by their ``share``, or by what rounds of rows showed."""

    kind: Literal["uniform", "adaptive"] = "uniform"
    round_rows: Positive = 256  # rows of a round, whole shards
    explore: Share = 0.1  # of a round's rows, evenly over all arms
    flat_cost: Annotated[float, Field(gt=0)] = 1.0  # of an attempt beside its network evaluations, in evaluations


class PricesConfig(Frozen):
    """What a worker costs an hour, in one currency; the ledger and ``farm plan --target`` count with it."""

    device_hour: Annotated[float, Field(ge=0)] = 0.0  # of a generating worker
    embed_hour: Annotated[float, Field(ge=0)] = 0.0  # of an embedding worker
    currency: Text = "USD"


class Run(Frozen):
    """All settings of a run. ``output`` is the run folder (path or URL)."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    output: Text
    seed: Seed = 0
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
    prices: PricesConfig = PricesConfig()
    budget: BudgetConfig = BudgetConfig()

    @model_validator(mode="before")
    @classmethod
    def _an_arm_for_each(cls, found: Any) -> Any:
        """``dual`` with the defect "each" becomes an arm for each defect, ``<name>_<defect>``."""
        if not isinstance(found, dict) or not isinstance(found.get("methods"), list | tuple):
            return found
        methods: list[Any] = []
        for method in found["methods"]:
            if not isinstance(method, dict) or method.get("kind") != "dual" or method.get("defect") != "each":
                methods.append(method)
                continue
            stem = method.get("name") or "dual"
            names = [defect["name"] for defect in dict(found.get("prompts") or {}).get("defects") or []]
            methods += [{**method, "name": f"{stem}_{name}", "defect": name} for name in names]
        return {**found, "methods": methods}

    @model_validator(mode="after")
    def _dual_has_one_defect(self) -> "Run":
        names = [defect.name for defect in self.prompts.defects]
        for arm, method in zip(self.arm_names(), self.methods, strict=True):
            if isinstance(method, DualConfig) and (method.defect or names[0]) not in names:
                raise ValueError(f"methods: '{arm}' makes '{method.defect}', which is not in prompts.defects: {names}")
            if isinstance(method, DualConfig) and method.defect is None and len(names) > 1:
                raise ValueError(f"methods: '{arm}' needs a 'defect' of {names}, or 'each' for an arm of each")
        return self

    @model_validator(mode="after")
    def _methods_named_once(self) -> "Run":
        found = self.arm_names()
        if not found or len(set(found)) != len(found):
            raise ValueError(f"methods: at least one, each name once; found {found}")
        return self

    @model_validator(mode="after")
    def _text_margin_is_there(self) -> "Run":
        if self.filter.min_text_margin is not None and not self.embed.text_margin:
            raise ValueError("filter.min_text_margin needs embed.text_margin: true; found false")
        return self

    @model_validator(mode="after")
    def _rounds_are_whole_shards(self) -> "Run":
        budget, size = self.budget, self.cluster.shard_rows
        if budget.kind == "adaptive" and budget.round_rows % size:
            raise ValueError(
                f"budget.round_rows must be a multiple of cluster.shard_rows; found {budget.round_rows} and {size}"
            )
        return self

    def arm_names(self) -> list[str]:
        """The name of each method's rows, in config order."""
        return [method.name or method.kind for method in self.methods]
