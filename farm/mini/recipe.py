"""The recipe of the embedded models: every size, weight and rate of the three trainings, as frozen settings."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, ValidationError, model_validator

from farm.config import Frozen, Positive, Share
from farm.errors import ConfigError

Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class PoolRecipe(Frozen):
    """The training pictures: rendered pairs (one without, one with a defect) and the textile photographs."""

    first_seed: Annotated[int, Field(ge=0)] = 1_000_000
    pairs: Positive = 6000
    size_px: Annotated[int, Field(ge=32, multiple_of=8)] = 128
    shard_pairs: Positive = 250
    focus: tuple[str, ...] = ()  # surfaces that the noise predictor learns; () = all of them
    focus_pairs: Annotated[int, Field(ge=0)] = 0  # further pairs of each of these
    textile: bool = True
    workers: Positive = 1


class LoopRecipe(Frozen):
    """How long and how fast one network learns: cosine rate with warm-up, AdamW, EMA."""

    steps: Positive = 3000
    batch_size: Positive = 16
    lr: Rate = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 100
    final_lr: Share = 0.02  # the last rate as a share of ``lr``
    weight_decay: Weight = 0.01
    clip_norm: Rate = 1.0
    ema: Share = 0.995
    bf16: bool = True
    checkpoint_every: Positive = 500


class VaeRecipe(Frozen):
    """The autoencoder (f = 8) with a fixed block encoder (``farm.mini.blocks``): sizes, and the decoder's loss."""

    channels: tuple[Positive, Positive, Positive, Positive] = (24, 48, 64, 64)
    latent_channels: Positive = 16
    groups: Positive = 4
    crop_px: Annotated[int, Field(ge=32, multiple_of=8)] = 64
    absolute_from: Share = 0.5  # share of the steps after which absolute error takes the place of squared error
    perceptual: Weight = 0.05
    perceptual_from: Share = 0.5  # share of the steps after which the perceptual term joins
    loop: LoopRecipe = LoopRecipe(steps=4000, batch_size=12, lr=2e-3)

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
    loop: LoopRecipe = LoopRecipe(lr=8e-4, batch_size=16)

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
    text_width: Positive = 128
    text_layers: Positive = 3
    text_heads: Positive = 4
    context: Positive = 32
    image_lr: Weight = 0.1  # rate of the ImageNet tower as a share of the loop's; 0 = locked
    loop: LoopRecipe = LoopRecipe(steps=1500, batch_size=48, bf16=False)


class Recipe(Frozen):
    """Everything that ``farm fit-mini`` needs; equal recipes on one machine give equal weights."""

    seed: int = 0
    merges: Positive = 8000  # of the BPE vocabulary; more merges, larger embedding table
    threads: Positive = 1
    pool: PoolRecipe = PoolRecipe()
    vae: VaeRecipe = VaeRecipe()
    unet: UnetRecipe = UnetRecipe()
    clip: ClipRecipe = ClipRecipe()


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
