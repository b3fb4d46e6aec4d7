"""Settings of the ways to make a defect; ``MethodConfig`` tells them apart by ``kind``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from farm.config.base import Frozen, Positive, Share, Text
from farm.config.embed import EmbedConfig
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

    makes: ClassVar[Literal["defect", "normal"]] = "defect"  # what its images are

    name: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")  # None = its kind
    share: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0
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


class NullConfig(MethodBase):
    """A dry run of the farm: a patch of the target mask is changed, and nothing is computed."""

    kind: Literal["null"] = "null"

    composite: ClassVar[bool] = True  # nothing outside the mask is touched, ...
    dilate_px: ClassVar[int] = 0  # ... not by a pixel


Flip = Literal["horizontal", "vertical", "quarter_turns"]


class FitConfig(Frozen):
    """How a method learns from the few-shot photographs; ``farm fit`` leaves an adapter."""

    loop: LoopConfig = LoopConfig(steps=800, batch_size=4, lr=1e-4, warmup=20, ema=0.99, checkpoint_every=100)
    flips: tuple[Flip, ...] = ("horizontal", "vertical")


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

    iterations: Annotated[int, Field(ge=0)] = 20  # at most; 0 = none
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
    object_name: Text | None = None  # in those prompts, e.g. "a nut"; None = the table's
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


class DualFit(FitConfig):
    """Two branches of low-rank adapters with interaction attention on a frozen U-Net (card 003 section 4).

    Published for 512 px: 5000 steps, batches of 4, lr 2e-5, ranks 32.
    """

    rank: Positive = 32
    text_rank: Annotated[int, Field(ge=0)] = 32  # of the text encoders' own adapter; 0 = they stay as they are
    exchange_init: Literal["zero", "random"] = "zero"  # of W_o; the authors' code: random, which disturbs step 0
    background_init: Share = 0.0  # a, the weight of the background's features (the paper's note: 0.1)
    by_category: bool = True  # leave out flips that the category does not allow, see farm.fitting.dual.FLIPS


class DualConfig(MethodBase):
    """The image and its anomaly part born together by two branches (card 003); ``masks`` means nothing to it.

    One model for each (category, defect): ``defect`` names it, and "each" stands for one arm a defect.
    """

    kind: Literal["dual"] = "dual"
    defect: str | None = None  # None = the run's only one; "each" = an arm for each
    whole_prompt: Text = "a vfx with sks"
    part_prompt: Text = "sks"
    steps: Positive = 50
    guidance: Annotated[float, Field(ge=0)] = 2.5
    start: Literal["marginal", "noise"] = "marginal"  # "noise": pure noise, whose mean decides colours (as published)
    background: bool = False  # objects: keys and values of branch 0 also read the source's background
    texture: bool = True  # False = an object: the part is cut to its foreground
    max_disagreement: Share = 0.25  # mean |whole - part| inside the mask, of the range [-1, 1]; above: refused
    min_area: Share = 0.0005
    max_area: Share = 0.60
    part_floor: Share = 0.08  # least distance from mid-grey, in [-1, 1], that is a part
    composite: bool = False  # True = only the masked pixels are taken over, onto the source
    dilate_px: Annotated[int, Field(ge=0)] = 3
    fit: DualFit | None = None  # None = the base model twice, for a look at what it knows
    adapter: str | None = None

    @model_validator(mode="after")
    def _nested(self) -> "DualConfig":
        if self.part_prompt not in self.whole_prompt:
            raise ValueError(
                f"part_prompt must be part of whole_prompt (nested prompts); found {self.part_prompt!r} and "
                f"{self.whole_prompt!r}"
            )
        if self.background and self.texture:
            raise ValueError("background: true needs an object (texture: false); a texture is all foreground")
        return self


class VariationalConfig(MethodBase):
    """More normal images from few (card 002): its rows are normals and never defects; ``masks`` means nothing to it.

    ``sources`` is how many normals it may see: 1, 5 or all.
    """

    makes: ClassVar[Literal["defect", "normal"]] = "normal"
    kind: Literal["variational"] = "variational"
    keyword: Text | None = None  # None = the category's name
    iterations: Annotated[int, Field(ge=0)] = 200
    candidates: Annotated[int, Field(ge=2)] = 8  # latents of one row that are led together; the best is its image
    cutouts: Positive = 32  # of each candidate, in each iteration
    lr: Rate = 0.05
    text_weight: Weight = 1.0  # lambda_t
    image_weight: Weight = 1.0  # lambda_x
    perceptual_weight: Weight = 1.0  # lambda_p
    variance_weight: Weight = 0.1  # lambda_v
    distance_weight: Weight = 0.1  # beta, of the Wasserstein-2 distance in the score
    score_every: Positive = 20  # iterations; every candidate is scored then, and the best one seen is kept
    centre: Literal["normals", "source"] = "normals"  # mean of the first latents: all normals', or the row's source's
    noise: Literal["independent", "joint"] = "independent"  # joint: places vary together, as they do in the normals
    sigma: Weight = 1.0  # spread of the first latents, in standard deviations of the normals
    detail: bool = False  # add what the autoencoder loses of the source; needs centre "source"
    flips: tuple[Flip, ...] = ("horizontal", "vertical")  # that leave a normal normal; used where there is only one
    guide: EmbedConfig = EmbedConfig(kind="open_clip", model="embedded")
    judge: EmbedConfig = EmbedConfig(kind="efficientnet_lite0")
    max_anomaly_quantile: Share = 0.99  # of leave-one-out scores of the normals; above: "would_be_an_anomaly"
    min_perceptual: Weight = 0.02  # LPIPS-style distance to the nearest normal; below: "copy"

    @model_validator(mode="after")
    def _consistent(self) -> "VariationalConfig":
        if not self.guide.reads_text:
            raise ValueError("guide must read text; give an open_clip model")
        if self.guide == self.judge:
            raise ValueError("judge must be another model than guide, or the generator games it")
        if self.detail and self.centre != "source":
            raise ValueError("detail: true needs centre 'source': the detail is the source's, and so must the image be")
        return self


MethodConfig = Annotated[
    RulesConfig | BackgroundAwareConfig | AdaBldmConfig | TranslateConfig | DualConfig | VariationalConfig | NullConfig,
    Field(discriminator="kind"),
]
