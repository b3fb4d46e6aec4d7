"""Settings of an image embedder."""

from typing import Literal

from pydantic import model_validator

from farm.config.base import Frozen

_OWN = {  # kinds that take neither model nor pretrained
    "efficientnet_lite0": "has its own weights",
    "pixels": "has no weights",
}


class EmbedConfig(Frozen):
    """The image embedder of the filter; what ``model`` and ``pretrained`` mean hangs on its kind.

    - open_clip: a registered name, a JSON file or a folder; a registered tag or a local file. The model "embedded" is
      the small CLIP of ``farm.mini``, which has its own weights.
    - timm: a registered name (``name.tag``), perhaps with a local .safetensors file as ``pretrained``; or a folder or
      a hub id (``owner/name``, ``hf-hub:owner/name``, ``owner/name@revision``), which have their own weights.
    - transformers: a folder or a hub id.
    - efficientnet_lite0 has packaged weights. pixels has none: for dry runs, and for machines without torch.
    """

    kind: Literal["efficientnet_lite0", "open_clip", "timm", "transformers", "pixels"] = "efficientnet_lite0"
    model: str | None = None
    pretrained: str | None = None
    crops: Literal["none", "defect", "grid"] = "none"  # also a crop around the defect, or that and a grid of nine
    text_margin: bool = False  # also whether the image is nearer to its prompt than to the normal one

    @property
    def reads_text(self) -> bool:
        """Whether it has a text tower, which prompts need."""
        return self.kind == "open_clip"

    @model_validator(mode="after")
    def _own_weights(self) -> "EmbedConfig":
        if self.kind in _OWN and (self.model, self.pretrained) != (None, None):
            raise ValueError(
                f"kind '{self.kind}' {_OWN[self.kind]}; found model {self.model!r} and pretrained "
                f"{self.pretrained!r}, leave them out or give the kind that they are for"
            )
        return self

    @model_validator(mode="after")
    def _text_needs_a_tower(self) -> "EmbedConfig":
        if self.text_margin and not self.reads_text:
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

    @model_validator(mode="after")
    def _image_model_named(self) -> "EmbedConfig":
        if self.kind == "timm" and self.model is None:
            raise ValueError("kind 'timm' needs model: a registered name, a local folder or a hub id")
        if self.kind == "transformers" and (self.model is None or self.pretrained is not None):
            raise ValueError(
                "kind 'transformers' needs model, a local folder or a hub id, and no pretrained (the folder has its "
                f"weights); found model {self.model!r} and pretrained {self.pretrained!r}"
            )
        return self
