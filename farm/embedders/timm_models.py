"""Any image model of timm: a registered name (``name.tag``), a folder or a hub id, or a name with a local file.

A folder is what timm itself reads as ``local-dir:<folder>``: config.json (architecture, preprocessing) and
model.safetensors. A vector is what the model gives with its classifier taken off: features pooled as timm pools them.

Preprocessing is timm's own transform for evaluation, with the size, crop, filter, mean and spread of the weights
(``resolve_model_data_config``), done by ``farm.embedders.preprocess``.
"""

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors import SafetensorError, safe_open
from timm.data import resolve_model_data_config
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import Tensor, nn

from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import Pixels, Vectors
from farm.embedders.batches import DTYPES, embed, vector_length
from farm.embedders.preprocess import Preprocessing, preprocess
from farm.embedders.weights import hub_folder, label, weights_file, weights_folder
from farm.errors import WeightsError
from farm.model_files import first_line, read_json, safe_weights

WEIGHTS = ("model.safetensors", "open_clip_model.safetensors")  # of a folder, the first that is there
_CONVERT = "load it with timm and call timm.models.save_for_hf(model, folder, safe_serialization=True)"
_MODES: dict[str, Literal["shortest", "longest", "squash"]] = {  # by crop_mode
    "center": "shortest",
    "border": "longest",
    "squash": "squash",
}


class TimmModel:
    """Embedder over the model ``config.model``, with its own weights or those of the file ``config.pretrained``.

    Raises ``WeightsError`` for a name that timm does not know, a pickle, and weights that do not fit.
    """

    def __init__(self, config: EmbedConfig, compute: ComputeConfig) -> None:
        source, architecture, weights = _located(config)
        self._batch_size, self._device, self._dtype = compute.batch_size, compute.device, DTYPES[compute.dtype]
        self.name = f"timm/{label(config.model or '')}" + (f"/{weights.name}" if config.pretrained else "")
        model = _load(source, architecture, weights)
        self._preprocessing = preprocessing(resolve_model_data_config(model), self.name)
        self._model = model.to(self._device, self._dtype)
        self.dim = vector_length(self._encode, self.name)

    def __call__(self, images: Pixels) -> Vectors:
        """(B, H, W, 3) uint8  ->  (B, D) float32 unit vectors."""
        return embed(self._encode, images, self.dim, self._batch_size)

    @torch.inference_mode()
    def _encode(self, pixels_BCHW: Tensor) -> Tensor:
        features: Tensor = self._model(preprocess(pixels_BCHW, self._preprocessing).to(self._device, self._dtype))
        return features


def preprocessing(found: Mapping[str, Any], name: str) -> Preprocessing:
    """What timm's transform for evaluation does with a data config; ``name`` is for messages."""
    channels, *sides = found["input_size"]
    if channels != 3 or found["interpolation"] not in ("bilinear", "bicubic") or found["crop_mode"] not in _MODES:
        raise WeightsError(
            f"{name}: wants {channels} channels, resized '{found['interpolation']}' and cropped "
            f"'{found['crop_mode']}'; give a model of 3 channels, bilinear or bicubic, {', '.join(_MODES)}"
        )
    height, width = (math.floor(side / found["crop_pct"]) for side in sides)
    mode = _MODES[found["crop_mode"]]
    red, green, blue = (round(255 * value) if mode == "longest" else 0 for value in found["mean"])
    return Preprocessing(
        resize=(height, width),
        mode=mode,
        interpolation=found["interpolation"],
        size=(sides[0], sides[1]),
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        fill=(red, green, blue),
    )


def _located(config: EmbedConfig) -> tuple[str, str, Path]:
    """What timm calls the model, its architecture, and the file of its weights."""
    assert config.model is not None  # EmbedConfig has seen to it
    folder = weights_folder(config)
    if folder is None:
        architecture = _registered(config.model)
        return config.model, architecture, weights_file(config) or _tagged(config.model, architecture)
    if config.pretrained is not None:
        raise WeightsError(
            f"{config.model}: the weights of a folder are its own; found embed.pretrained '{config.pretrained}', "
            "leave it out"
        )
    weights = safe_weights(folder, WEIGHTS, _CONVERT)
    named = read_json(folder / "config.json").get("architecture")
    if not isinstance(named, str):
        raise WeightsError(
            f"{folder}/config.json: names no architecture of timm's; give a folder that timm wrote, or embed.kind "
            "transformers for one that transformers wrote"
        )
    return f"local-dir:{folder}", _registered(named), weights


def _registered(model: str) -> str:
    """The architecture of a registered name."""
    architecture = model.partition(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.3)
        raise WeightsError(f"timm has no model '{model}'; the nearest names are {', '.join(near) or 'none'}")
    return architecture


def _tagged(model: str, architecture: str) -> Path:
    """The weights of a registered name's tag, fetched from the hub."""
    tagged = get_arch_pretrained_cfgs(architecture)
    known = get_pretrained_cfg(model) if model in (architecture, *tagged) else None
    if known is None or not known.hf_hub_id:
        raise WeightsError(
            f"timm has no weights '{model}' on the hub; of this architecture there are {', '.join(tagged) or 'none'}; "
            "give one of them, or a local .safetensors file as embed.pretrained"
        )
    return safe_weights(hub_folder(known.hf_hub_id), WEIGHTS, _CONVERT)


def _load(source: str, architecture: str, weights: Path) -> nn.Module:
    """The model without its classifier; strict, so the head is built as large as the file's before it is taken off."""
    try:
        classes = _classes(architecture, weights)
        own = {"source": "", "file": str(weights), "custom_load": False, "num_classes": classes, "label_offset": 0}
        model: nn.Module = timm.create_model(source, pretrained=True, pretrained_cfg_overlay=own, num_classes=classes)
        model.reset_classifier(0)  # type: ignore[operator]
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise WeightsError(
            f"timm '{architecture}' with '{weights}' cannot be loaded: {first_line(error)}; give weights of this "
            "architecture"
        ) from error
    return model.eval()


def _classes(architecture: str, weights: Path) -> int:
    """How many classes the file's classifier has; 0 where it has none."""
    name = getattr(get_pretrained_cfg(architecture), "classifier", None)
    key = f"{name if isinstance(name, str) or not name else name[0]}.weight"
    with safe_open(weights, "pt") as file:
        return int(file.get_slice(key).get_shape()[0]) if key in file.keys() else 0  # noqa: SIM118
