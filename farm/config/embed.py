"""Settings of an image embedder."""

from typing import Literal

from pydantic import model_validator

from farm.config.base import Frozen


class EmbedConfig(Frozen):
    """The image embedder of the filter; ``model`` and ``pretrained`` are open_clip's names or local paths.

    The model "embedded" is the small CLIP of ``farm.mini``, which has its own weights. The kind "pixels" has none: it
    is for dry runs and for machines without torch.
    """

    kind: Literal["efficientnet_lite0", "open_clip", "pixels"] = "efficientnet_lite0"
    model: str | None = None
    pretrained: str | None = None
    crops: Literal["none", "defect", "grid"] = "none"  # also a crop around the defect, or that and a grid of nine
    text_margin: bool = False  # also whether the image is nearer to its prompt than to the normal one

    @model_validator(mode="after")
    def _pixels_have_no_weights(self) -> "EmbedConfig":
        if self.kind == "pixels" and (self.model, self.pretrained) != (None, None):
            raise ValueError(
                f"kind 'pixels' has no weights; found model {self.model!r} and pretrained {self.pretrained!r}, "
                "leave them out"
            )
        return self

    @model_validator(mode="after")
    def _text_needs_a_tower(self) -> "EmbedConfig":
        if self.text_margin and self.kind != "open_clip":
            raise ValueError(
                f"text_margin needs an embedder that reads text, kind 'open_clip'; found '{self.kind}'; leave it out"
            )
        return self

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
