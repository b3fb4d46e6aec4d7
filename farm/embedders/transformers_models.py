"""Any image tower of transformers: a folder or a hub id with config.json, model.safetensors and its image processor.

DINOv2, ViT, CLIP, SigLIP and their like; of a model with a text tower the image tower is taken, before it is projected
to the text's space. A vector is the model's ``pooler_output``; where it has none, or its weights have no pooler, the
first token of the last hidden state (CLS). No code of the model's is run, and no pickle is opened.
"""

import difflib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import AutoModel
from transformers.utils import logging

from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import Pixels, Vectors
from farm.embedders.batches import DTYPES, embed, vector_length
from farm.embedders.image_processor import load_preprocessing
from farm.embedders.preprocess import preprocess
from farm.embedders.weights import label, weights_folder
from farm.errors import WeightsError
from farm.model_files import first_line, read_json, safe_weights, silenced

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_CONVERT = "load it with transformers and call save_pretrained(folder)"


class TransformersModel:
    """Embedder over the image tower of the model in ``config.model``.

    Raises ``WeightsError`` for a folder without safetensors, an unknown kind of model, missing tensors, and
    preprocessing that is more than resizing, cropping and normalising.
    """

    def __init__(self, config: EmbedConfig, compute: ComputeConfig) -> None:
        folder = weights_folder(config)
        assert folder is not None  # transformers has no names but these
        self._batch_size, self._device, self._dtype = compute.batch_size, compute.device, DTYPES[compute.dtype]
        self.name = f"transformers/{label(config.model or '')}"
        tower, self._pooled = _load(folder)
        self._preprocessing = load_preprocessing(folder)
        self._tower = tower.to(self._device, self._dtype)
        self.dim = vector_length(self._encode, self.name)

    def __call__(self, images: Pixels) -> Vectors:
        """(B, H, W, 3) uint8  ->  (B, D) float32 unit vectors."""
        return embed(self._encode, images, self.dim, self._batch_size)

    @torch.inference_mode()
    def _encode(self, pixels_BCHW: Tensor) -> Tensor:
        inputs = preprocess(pixels_BCHW, self._preprocessing).to(self._device, self._dtype)
        output = self._tower(pixel_values=inputs)
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if self._pooled and pooled is not None:
            return pooled.flatten(1)
        first: Tensor = output.last_hidden_state[:, 0]
        return first


def _load(folder: Path) -> tuple[Any, bool]:
    """The image tower in a folder, and whether its weights have all that ``pooler_output`` needs."""
    safe_weights(folder, WEIGHTS, _CONVERT)
    kind = str(read_json(folder / "config.json").get("model_type") or "")
    if kind not in CONFIG_MAPPING_NAMES:
        near = difflib.get_close_matches(kind, CONFIG_MAPPING_NAMES, n=3, cutoff=0.3)
        raise WeightsError(
            f"{folder}/config.json: transformers has no model_type '{kind}'; the nearest are "
            f"{', '.join(near) or 'none'} (a folder that timm wrote is for embed.kind timm)"
        )
    try:
        with silenced(logging):
            model, info = AutoModel.from_pretrained(
                str(folder),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError) as error:
        raise WeightsError(f"{folder}: cannot be loaded as a '{kind}': {first_line(error)}") from error
    missing = sorted(str(key) for name in ("missing_keys", "mismatched_keys") for key in info[name])
    lost = [key for key in missing if "pooler" not in key.split(".")]
    if lost:
        raise WeightsError(
            f"{folder}: {len(lost)} tensor(s) of '{kind}' are missing or of another shape, first {lost[0]}; the "
            "weights must be made by the config beside them"
        )
    return getattr(model, "vision_model", model).eval(), not missing
