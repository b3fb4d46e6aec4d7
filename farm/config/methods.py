"""Settings of the ways to make a defect; ``MethodConfig`` tells them apart by ``kind``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from farm.config.base import Frozen, Positive, Share
from farm.config.loop import LoopConfig, Rate, Weight


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


class FitConfig(Frozen):
    """How a method learns from the few-shot photographs; ``farm fit`` leaves an adapter."""

    loop: LoopConfig = LoopConfig(steps=800, batch_size=4, lr=1e-4, warmup=20, ema=0.99, checkpoint_every=100)
    flips: tuple[Literal["horizontal", "vertical", "quarter_turns"], ...] = ("horizontal", "vertical")


class LoraFit(FitConfig):
    """Low-rank adapters on the attention layers and a learned token for each defect (card 001 section 4)."""

    rank: Positive = 16
    token: bool = True
    token_lr: Rate = 1e-3
    background_weight: Weight = 1.0  # lambda_bg, of the disentanglement term
    drop_text: Share = 0.1  # of the defect passes read the empty text, which guidance compares with
    whole_unet: bool = False  # fine-tune every weight of the U-Net in place of low-rank adapters


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
    fit: LoraFit | None = None  # None = the base model as it is
    adapter: str | None = (
        None  # folder or URL of an adapter fitted elsewhere; None = the run's own, where ``fit`` is set
    )


class AdaptConfig(Frozen):
    """Online adaptation of the decoder, image by image (card 004 section 5, stage 4); see ``farm.diffusion.adapt``.

    The paper takes 200 iterations of plain AdamW at 1e-4; those here are of whitened weights, and far fewer do.
    """

    iterations: Annotated[int, Field(ge=0)] = 12  # at most; 0 = none
    lr: Rate = 5e-4
    background_weight: Weight = 100.0  # lambda
    min_gain_db: Weight = 0.05  # an image stops when its background gains less than this ...
    every: Positive = 4  # ... in so many iterations
    together: Positive = 1  # images adapted in one pass; more pays on a GPU only, and is equal to rounding only


class ControlFit(FitConfig):
    """The control branch, trained on pasted composites (card 004 section 4)."""

    drop_text: Share = 0.1
    inside_weight: Weight = 0.0  # of the error on the defect alone, added to the mean over the image (the paper: 0)
    rotation_deg: Annotated[float, Field(ge=0, le=360)] = 360.0
    scale: tuple[Rate, Rate] = (0.85, 1.15)


class AdaBldmConfig(MethodBase):
    """Blended latent diffusion under a trimap, edited in three stages (card 004)."""

    kind: Literal["adabldm"] = "adabldm"
    preset: Literal["paper", "code"] = "paper"  # lengths of the stages, as shares of ``steps``
    steps: Annotated[int, Field(ge=10)] = 50
    guidance: Annotated[float, Field(ge=0)] = 9.0
    control_scale: Weight = 1.0
    renoise_to: Literal["prev", "cur"] = "prev"
    dilate_cells: Annotated[int, Field(ge=0)] = 1  # of the latent mask; 1 = 3 x 3
    texture: bool = True  # False = an object on a background: its foreground is predicted
    adapt: AdaptConfig = AdaptConfig()
    composite: bool = True
    dilate_px: Annotated[int, Field(ge=0)] = 3
    min_visible: Share = 0.05
    fit: ControlFit | None = None  # None = an untrained branch, which changes nothing
    adapter: str | None = None


Material = Literal[
    "metal",
    "steel",
    "magnet",
    "textile",
    "leather",
    "wood",
    "ceramic",
    "concrete",
    "stone",
    "glass",
    "paper",
    "rubber",
    "film",
    "plastic",
    "pcb",
    "food",
    "tablet",
]  # what farm.methods.prompt_table has words for


class TranslateConfig(MethodBase):
    """Text-guided image-to-image (card 000): the mask is found by differencing, or given.

    ``inpaint`` changes the target mask of the plan; ``instruct`` and ``sdedit`` find their own place, so that
    ``masks`` means nothing to them.
    """

    kind: Literal["translate"] = "translate"
    engine: Literal["instruct", "sdedit", "inpaint"] = "sdedit"
    steps: Positive = 30
    strength: Annotated[float, Field(gt=0, le=1)] = 0.5  # sdedit and inpaint: share of the schedule that is redone
    guidance: Annotated[float, Field(ge=0)] = 7.5  # by text
    image_guidance: Annotated[float, Field(ge=0)] = 1.5  # instruct only
    material: Material | None = None  # take prompts from the table of this material; None = the run's own
    object_name: str | None = Field(default=None, min_length=1)  # in those prompts, e.g. "a nut"; None = the table's
    align_px: Annotated[float, Field(ge=0)] = 4.0  # refuse an image that moved by more
    min_area: Share = 0.0003  # of a component of the differenced mask
    composite: bool = True
    dilate_px: Annotated[int, Field(ge=0)] = 3
    min_visible: Share = 0.05  # inpaint: area(label) / area(target) below this is refused as "no visible defect"

    @model_validator(mode="after")
    def _object_of_a_table(self) -> "TranslateConfig":
        if self.object_name is not None and self.material is None:
            raise ValueError(
                f"object_name is {self.object_name!r} but material is not set; a run's own prompts name their object"
            )
        return self


MethodConfig = Annotated[
    RulesConfig | BackgroundAwareConfig | AdaBldmConfig | TranslateConfig, Field(discriminator="kind")
]
