"""The recipe of the embedded models: every size, weight and rate of the three trainings, as frozen settings."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from farm.config.base import Frozen, Positive, Share
from farm.config.loop import LoopConfig, Rate, Weight
from farm.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """The rendered pairs of the seeds ``first`` to ``first + pairs - 1``, of one surface or of all."""

    first: int
    pairs: int
    surface: str | None

    @property
    def name(self) -> str:
        """Its file in the pool's folder."""
        return f"pairs-{self.first:09d}.npz"


class PoolRecipe(Frozen):
    """The training pictures: rendered pairs (one without, one with a defect) and the textile photographs."""

    first_seed: Annotated[int, Field(ge=0)] = 1_000_000
    pairs: Positive = 6000
    size_px: Annotated[int, Field(ge=32, multiple_of=8)] = 128
    shard_pairs: Positive = 250
    focus: tuple[str, ...] = ()  # surfaces that the noise predictor learns; () = all of them
    focus_pairs: Annotated[int, Field(ge=0)] = 0  # further pairs of each of these
    textile: bool = True

    def shards(self) -> list[Shard]:
        """The rendered part of the pool: all surfaces first, then each of the focus."""
        shards, first = list[Shard](), self.first_seed
        for surface, pairs in ((None, self.pairs), *((name, self.focus_pairs) for name in self.focus)):
            for start in range(0, pairs, self.shard_pairs):
                shards.append(Shard(first + start, min(self.shard_pairs, pairs - start), surface))
            first += pairs
        return shards


class VaeRecipe(Frozen):
    """The autoencoder (f = 8) with a fixed block encoder (``farm.mini.blocks``): sizes, and the decoder's loss."""

    channels: tuple[Positive, Positive, Positive, Positive] = (24, 48, 64, 64)
    latent_channels: Positive = 16
    groups: Positive = 4
    crop_px: Annotated[int, Field(ge=32, multiple_of=8)] = 64
    absolute_from: Share = 0.5  # share of the steps after which absolute error takes the place of squared error
    perceptual: Weight = 0.05
    texture: Weight = 0.0  # of the distance between channel statistics
    enlarge: Rate = 1.0  # pictures are enlarged by this before they are compared
    perceptual_from: Share = 0.5  # share of the steps after which the perceptual terms join
    loop: LoopConfig = LoopConfig(steps=4000, batch_size=12, lr=2e-3)

    @model_validator(mode="after")
    def _encoder_holds_the_transform(self) -> "VaeRecipe":
        odd = [channels for channels in self.channels if channels % self.groups]
        if odd:
            raise ValueError(f"groups must divide every level's channels; found groups {self.groups}, channels {odd}")
        first, second, third, fourth = self.channels
        least = max(48, 2 * self.latent_channels + 2 * self.groups)
        if first < 12 or second < 48 or third != fourth or third < least:
            raise ValueError(
                f"channels {self.channels} cannot hold the block transform: it needs 12 and 48 at the finer two levels "
                f"and one number at the coarser two, at least {least} (48, and 2 x latent_channels + 2 x groups)"
            )
        if self.latent_channels % self.groups:
            raise ValueError(f"groups {self.groups} must divide latent_channels {self.latent_channels}")
        return self


class UnetRecipe(Frozen):
    """The noise predictor with its text encoder: sizes, and what the loss weighs."""

    channels: tuple[Positive, Positive, Positive] = (64, 128, 192)
    heads: Positive = 4
    groups: Positive = 16
    text_width: Positive = 128
    text_layers: Positive = 3
    text_heads: Positive = 4
    drop_caption: Share = 0.1  # classifier-free guidance: the share of captions replaced by ""
    min_snr: Weight = 5.0  # gamma of min-SNR weighting; 0 = plain epsilon loss
    defect_weight: Weight = 0.0  # added to the loss's weight where a picture shows its defect
    compiled: bool = False  # torch.compile the noise predictor: minutes of warm-up, then 1.27 x the steps (EPYC, bf16)
    loop: LoopConfig = LoopConfig(lr=8e-4, batch_size=16)

    @model_validator(mode="after")
    def _groups_divide(self) -> "UnetRecipe":
        odd = [channels for channels in self.channels if channels % self.groups or channels % self.heads]
        if odd:
            raise ValueError(f"groups {self.groups} and heads {self.heads} must divide every level's channels {odd}")
        return self


class ClipRecipe(Frozen):
    """The image-text embedder: EfficientNet-Lite0 images, a small text tower."""

    embed_dim: Positive = 256
    image_px: Positive = 128
    image_pool: Literal["avg", "max", "avgmax"] = "avgmax"  # over the last maps of the image tower
    image_head: Literal["linear", "mlp"] = "mlp"
    text_width: Positive = 128
    text_layers: Positive = 3
    text_heads: Positive = 4
    context: Positive = 32
    frozen_stages: Annotated[int, Field(ge=0, le=8)] = 3  # of the image tower's seven, from the input; 8 = all of it
    image_lr: Weight = 0.2  # rate of its open stages as a share of the loop's
    group_pairs: Positive = 4  # pairs of one surface that share a batch
    pair_weight: Weight = 1.0  # of the second question, sound or not, within a pair
    loop: LoopConfig = LoopConfig(steps=3000, batch_size=64, bf16=False)


Network = Literal["vae", "unet", "clip"]
Phase = Literal["pool", "vae", "unet", "clip"]
_DECIDED_BY: dict[Phase, tuple[str, ...]] = {
    "pool": ("pool",),
    "vae": ("seed", "pool", "vae"),
    "unet": ("seed", "merges", "pool", "vae", "unet"),
    "clip": ("seed", "merges", "pool", "clip"),
}


class Recipe(Frozen):
    """Everything that ``farm fit-mini`` needs; equal recipes on one machine give equal weights."""

    seed: int = 0
    merges: Positive = 8000  # of the BPE vocabulary; more merges, larger embedding table
    threads: Positive = 1
    pool: PoolRecipe = PoolRecipe()
    vae: VaeRecipe = VaeRecipe()
    unet: UnetRecipe = UnetRecipe()
    clip: ClipRecipe = ClipRecipe()

    def loop(self, network: Network) -> LoopConfig:
        """How ``network`` is trained."""
        loops = {"vae": self.vae.loop, "unet": self.unet.loop, "clip": self.clip.loop}
        return loops[network]

    def decisive(self, phase: Phase) -> dict[str, Any]:
        """The settings that decide what ``phase`` makes, as JSON values; rounding and checkpoints aside."""
        settings = self.model_dump(mode="json", include=set(_DECIDED_BY[phase]))
        settings.get("unet", {}).pop("compiled", None)
        for network in ("vae", "unet", "clip"):
            settings.get(network, {"loop": {}})["loop"].pop("checkpoint_every", None)
        return settings


def hold_settings(recipe: Recipe, folder: Path, phase: Phase) -> None:
    """Note in ``folder`` what ``phase`` is made with; ``ConfigError`` where it was begun with other settings."""
    path, now = folder / f"{phase}_settings.json", recipe.decisive(phase)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(now, indent=1) + "\n")
        return
    before = dict(_leaves(json.loads(path.read_text()), ""))
    after = dict(_leaves(now, ""))
    lines = [
        f"  {name}: {before.get(name)!r} there, {after.get(name)!r} in the recipe"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if lines:
        text = "\n".join(lines)
        raise ConfigError(f"{path}: {phase} was begun with other settings; give another folder, or these back\n{text}")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield place, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, f"{place}.{name}" if place else name)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from YAML; ``ConfigError`` lists every wrong setting."""
    where = Path(path)
    try:
        tree = yaml.safe_load(where.read_text()) or {}
        return Recipe.model_validate(tree)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); give the path of a recipe in YAML") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is not YAML: {error}") from error
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc'])) or '(top)'}: {e['msg']}" for e in error.errors(include_url=False)]
        raise ConfigError(f"{where}: {len(lines)} setting(s) are wrong\n" + "\n".join(lines)) from error
