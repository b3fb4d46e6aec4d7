"""Any open_clip model: a registered name or a JSON file, with a registered tag or a local checkpoint, or its folder.

A folder is what open_clip itself reads as ``local-dir:<folder>``, the embedded CLIP's for one: it holds
``open_clip_config.json`` (model and preprocessing), ``open_clip_model.safetensors`` and a tokenizer.

Preprocessing is the library's own (``open_clip.transform.image_transform``), done by ``farm.embedders.preprocess``.
"""

import difflib
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch
from open_clip.transform import PreprocessCfg
from torch import Tensor, nn
from torch.nn import functional as F

from farm.config import ComputeConfig, EmbedConfig
from farm.embedders import Pixels, Vectors
from farm.embedders.batches import DTYPES, embed, vector_length
from farm.embedders.preprocess import Preprocessing, preprocess
from farm.errors import WeightsError
from farm.mini import weights_dir
from farm.model_files import first_line

FOLDER = "local-dir:"  # before the path of a folder, as open_clip wants it
CONFIG, CHECKPOINT = "open_clip_config.json", "open_clip_model.safetensors"  # in a folder


class OpenClip:
    """Embedder over the image tower of ``config.model`` with the weights ``config.pretrained``, and its text tower.

    Weights are safetensors, or a file that torch loads with ``weights_only``; others raise ``WeightsError``, as do a
    name or tag that open_clip does not know and weights that do not fit.
    """

    def __init__(self, config: EmbedConfig, compute: ComputeConfig) -> None:
        model, pretrained = _named(config)
        self._batch_size, self._device, self._dtype = compute.batch_size, compute.device, DTYPES[compute.dtype]
        self._source = _registered(model)
        self._model = _load(self._source, pretrained).to(self._device, self._dtype)
        found = PreprocessCfg(**self._model.visual.preprocess_cfg)  # type: ignore[union-attr, arg-type]
        self._preprocessing = preprocessing(found)
        self.name = (
            f"open_clip/{'embedded' if config.model == 'embedded' else Path(model).stem}/{Path(pretrained).name}"
        )
        self.dim = vector_length(self._encode, self.name)

    @property
    def tower(self) -> tuple[nn.Module, Preprocessing]:
        """The model and its preprocessing, for whoever needs gradients through them."""
        return self._model, self._preprocessing

    def __call__(self, images: Pixels) -> Vectors:
        """(B, H, W, 3) uint8  ->  (B, D) float32 unit vectors."""
        return embed(self._encode, images, self.dim, self._batch_size)

    @torch.inference_mode()
    def texts(self, sentences: Sequence[str]) -> Vectors:
        """N sentences  ->  (N, D) float32 unit vectors, in the space of the images'."""
        tokens = open_clip.get_tokenizer(self._source)(list(sentences)).to(self._device)
        features: Tensor = self._model.encode_text(tokens)  # type: ignore[operator]
        vectors: Vectors = F.normalize(features.float(), dim=1).cpu().numpy()
        return vectors

    @torch.inference_mode()
    def _encode(self, pixels_BCHW: Tensor) -> Tensor:
        inputs = preprocess(pixels_BCHW, self._preprocessing).to(self._device, self._dtype)
        features: Tensor = self._model.encode_image(inputs)  # type: ignore[operator]
        return features


def preprocessing(config: PreprocessCfg) -> Preprocessing:
    """What open_clip's transform for evaluation does with ``config``."""
    size = (config.size, config.size) if isinstance(config.size, int) else (int(config.size[0]), int(config.size[1]))
    fill = config.fill_color if config.resize_mode == "longest" else 0
    return Preprocessing(
        resize=size,
        mode=config.resize_mode,
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        size=size,
        mean=tuple(config.mean),
        std=tuple(config.std),
        fill=(fill, fill, fill),
    )


def _load(name: str, pretrained: str) -> nn.Module:
    if name.startswith(FOLDER):
        _check_folder(Path(name.removeprefix(FOLDER)), pretrained)
    elif not Path(pretrained).is_file():
        _check_tag(name, pretrained)
    try:
        loaded: nn.Module = open_clip.create_model(
            name,
            pretrained=None if name.startswith(FOLDER) else pretrained,
            require_pretrained=True,
            weights_only=True,
        )
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{pretrained}: this checkpoint can run code when it is opened ({first_line(error)}); "
            "save its tensors as .safetensors and give that file"
        ) from error
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"open_clip '{name}' with '{pretrained}' cannot be loaded: {first_line(error)}; give a checkpoint of "
            "this model as embed.pretrained (a local .safetensors file needs no network)"
        ) from error
    return loaded.eval()


def _named(config: EmbedConfig) -> tuple[str, str]:
    """Model and weights; ``EmbedConfig`` has seen to it that there are both, but for the embedded CLIP."""
    if config.model == "embedded":
        return str(weights_dir("clip")), CHECKPOINT
    assert config.model is not None
    assert config.pretrained is not None
    return os.path.expanduser(config.model), os.path.expanduser(config.pretrained)


def _registered(model: str) -> str:
    """The name under which open_clip knows ``model``, which may be a folder or the path of a JSON config."""
    if Path(model).is_dir():
        return FOLDER + model
    if Path(model).suffix == ".json":
        if not Path(model).is_file():
            raise WeightsError(f"{model}: no such file; give an open_clip model config as embed.model")
        open_clip.add_model_config(model)
        model = Path(model).stem
    known = open_clip.list_models()
    if model not in known:
        near = difflib.get_close_matches(model, known, n=3, cutoff=0.3)
        raise WeightsError(f"open_clip has no model '{model}'; the nearest names are {', '.join(near) or 'none'}")
    return model


def _check_folder(folder: Path, pretrained: str) -> None:
    absent = [name for name in (CONFIG, CHECKPOINT) if not (folder / name).is_file()]
    if absent:
        raise WeightsError(f"{folder}: holds no {absent[0]}; give a folder that open_clip wrote, or a model's name")
    if pretrained != CHECKPOINT:
        raise WeightsError(
            f"{folder}: the weights of a folder are its own; found embed.pretrained '{pretrained}', give '{CHECKPOINT}'"
        )


def _check_tag(name: str, pretrained: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in tags:
        raise WeightsError(
            f"open_clip '{name}': '{pretrained}' is neither a file nor one of its tags ({', '.join(tags) or 'none'}); "
            "give a tag or a local .safetensors file as embed.pretrained"
        )
