"""A run's settings: frozen pydantic models read from YAML. Unknown keys are refused, all errors are listed at once.

``Run`` holds what decides pixels, verdicts and weights; what is asked of Ray sits under ``cluster``, which the
science never reads. ``load`` is the only way in: YAML file + ``a.b=c`` overrides → ``Run`` or ``ConfigError``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from farm.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class Frozen(BaseModel):
    """Base of every settings model: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Frozen):
    """Where the photographs are. ``root`` is the folder of one category (MVTec AD layout) or of plain folders."""

    kind: Literal["textile", "mvtec", "folder"]
    root: str | None = None
    category: str = Field(min_length=1)
    defects: tuple[str, ...] | None = None  # defect folders to use; None = all
    mask_folder: str = "ground_truth"
    few_shot: str = "few_shot.txt"  # a list file in root, "third" (first floor(n/3) of each type) or "none"
    max_train: Positive | None = None  # evenly spaced subset of the sorted normals
    max_test: Positive | None = None  # the same for each class of the test photographs
    max_bad_fraction: Share = 0.02  # unreadable photographs that are tolerated, each recorded with its reason
    max_megapixels: Annotated[float, Field(gt=0)] = 50.0  # larger pictures are refused before they are decoded

    @model_validator(mode="after")
    def _root_given(self) -> "DataConfig":
        if self.kind != "textile" and self.root is None:
            raise ValueError(f"kind '{self.kind}' needs root, the folder of the category; set data.root")
        return self


class DefectPrompt(Frozen):
    """One defect to make: its name in rows and reports, and the text that asks for it."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_]+$")
    prompt: str = Field(min_length=1)


class Prompts(Frozen):
    """The texts of one category: what the background is, and the defects to make on it."""

    normal: str = Field(min_length=1)
    defects: tuple[DefectPrompt, ...]

    @model_validator(mode="after")
    def _defects_named_once(self) -> "Prompts":
        found = [defect.name for defect in self.defects]
        if not found or len(set(found)) != len(found):
            raise ValueError(f"at least one defect, each name once; found {found}")
        return self


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


class Masks(Frozen):
    """Where target masks come from and how large they may be (share of the image)."""

    kinds: tuple[Literal["perlin", "procedural", "real"], ...] = ("perlin", "procedural")
    min_area: Share = 0.002
    max_area: Share = 0.10

    @model_validator(mode="after")
    def _areas_in_order(self) -> "Masks":
        if not self.kinds:
            raise ValueError("at least one kind of mask; found none")
        if self.min_area >= self.max_area:
            raise ValueError(f"min_area must be below max_area; found {self.min_area} and {self.max_area}")
        return self


class MethodBase(Frozen):
    """What every method's settings share: a name for its rows, its share of the plan and its masks."""

    name: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")  # None = its kind
    share: Annotated[float, Field(gt=0)] = 1.0
    sources: Positive | None = None  # use this many of the normals, evenly spaced; None = all
    masks: Masks = Masks()


class RulesConfig(MethodBase):
    """Rule-based synthesis (card 000 section 4): no network, thousands a second."""

    kind: Literal["rules"] = "rules"
    recipes: tuple[Literal["copy_paste", "perlin", "scar", "noise", "poisson"], ...] = (
        "copy_paste",
        "perlin",
        "scar",
        "noise",
        "poisson",
    )

    @model_validator(mode="after")
    def _some_recipe(self) -> "RulesConfig":
        if not self.recipes or len(set(self.recipes)) != len(self.recipes):
            raise ValueError(f"at least one recipe, each once; found {list(self.recipes)}")
        return self


class BackgroundAwareConfig(MethodBase):
    """DDIM inversion, defect denoised in the mask, background from the trajectory (card 001 section 5)."""

    kind: Literal["background_aware"] = "background_aware"
    mode: Literal["replay", "two_pass"] = "replay"
    steps: Positive = 20
    fixed_point: Annotated[int, Field(ge=0)] = 3
    guidance: Annotated[float, Field(ge=0)] = 5.0  # on the defect pass only
    t_start: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the schedule from which the defect starts
    hole_fill: Literal["noise", "zero"] = "noise"
    composite: bool = True
    dilate_px: Annotated[int, Field(ge=0)] = 3
    min_visible: Share = 0.05  # area(refined) / area(target) below this is refused as "no visible defect"


MethodConfig = Annotated[RulesConfig | BackgroundAwareConfig, Field(discriminator="kind")]


class EmbedConfig(Frozen):
    """The image embedder of the filter; ``model`` and ``pretrained`` are open_clip's names or local paths."""

    kind: Literal["efficientnet_lite0", "open_clip"] = "efficientnet_lite0"
    model: str | None = None
    pretrained: str | None = None

    @model_validator(mode="after")
    def _open_clip_named(self) -> "EmbedConfig":
        if self.kind == "open_clip" and (self.model is None or self.pretrained is None):
            raise ValueError("kind 'open_clip' needs model and pretrained (a registered tag or a local checkpoint)")
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


def load(path: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Read ``path``, apply ``a.b=c`` overrides, validate. Raises ``ConfigError`` listing every wrong setting."""
    where = Path(path)
    try:
        tree = yaml.safe_load(where.read_text())
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); give the path of a YAML config") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: found {type(tree).__name__} at the top; a config is a mapping of settings")
    for override in overrides:
        _override(tree, override)
    return parse(tree, str(where))


def parse(tree: dict[str, Any], where: str) -> Run:
    """Validate a tree of settings that came from ``where``."""
    try:
        return Run.model_validate(tree)
    except ValidationError as error:
        lines = [_line(detail) for detail in error.errors(include_url=False)]
        raise ConfigError(f"{where}: {len(lines)} setting(s) are wrong\n" + "\n".join(lines)) from error


def dump(run: Run) -> str:
    """The resolved settings as YAML: every key, defaults included."""
    return yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, width=100)


def _override(tree: dict[str, Any], text: str) -> None:
    keys, found, value = text.partition("=")
    if not found or not all(keys.split(".")):
        raise ConfigError(f"--set {text}: must be a.b=value, e.g. --set train.stage1.steps=100")
    node: Any = tree
    *parents, last = keys.split(".")
    for key in parents:
        node = _child(node, key, text)
    parsed = yaml.safe_load(value)
    if isinstance(node, list):
        node[_index(node, last, text)] = parsed
    elif isinstance(node, dict):
        node[last] = parsed
    else:
        raise ConfigError(f"--set {text}: '{'.'.join(parents)}' holds {node!r}, which has no settings inside")


def _child(node: Any, key: str, text: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, key, text)]
    if isinstance(node, dict):
        if node.get(key) is None:
            node[key] = {}
        return node[key]
    raise ConfigError(f"--set {text}: nothing can be set inside {node!r}")


def _index(node: list[Any], key: str, text: str) -> int:
    if not key.isdigit() or int(key) >= len(node):
        raise ConfigError(f"--set {text}: '{key}' is not an index of a list of {len(node)}; use 0 to {len(node) - 1}")
    return int(key)


def _line(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"]) or "(top)"
    found = detail.get("input")
    shown = repr(found) if isinstance(found, str | int | float | bool | type(None)) else type(found).__name__
    return f"  {place}: {detail['msg']} (got {shown})"
