"""An image processor of transformers → ``Preprocessing``: read off its settings, then held against it.

The processors of DINOv2 (``BitImageProcessor``), ViT, CLIP and SigLIP resize, crop, rescale and normalise, with
Pillow or with torchvision. One that does more is refused, by its settings or because it makes other pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils import logging

from farm.embedders.preprocess import Preprocessing, Size, preprocess
from farm.errors import WeightsError
from farm.model_files import first_line, silenced

_ASKED = ("do_resize", "size", "resample", "do_center_crop", "crop_size", "do_pad")
_SAME = 2.5  # levels of 255 that a pixel of noise may differ by; Pillow and torch round apart by two at most
_BILINEAR, _BICUBIC = 2, 3  # Pillow's numbers


def load_preprocessing(folder: Path) -> Preprocessing:
    """What the image processor of a model's folder does. Raises ``WeightsError`` where the farm cannot do the same."""
    try:
        with silenced(logging):
            processor = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise WeightsError(
            f"{folder}: holds no image processor that transformers can load ({first_line(error)}); copy the whole "
            "folder of the model, preprocessor_config.json with it"
        ) from error
    settings = preprocessing(processor)
    _hold(processor, settings, folder)
    return settings


def preprocessing(processor: Any) -> Preprocessing:
    """The settings of an image processor; ``WeightsError`` where they ask for more than resizing and cropping."""
    found = processor.to_dict()
    resize = _pair(found.get("size"))
    covers = "shortest_edge" in dict(found.get("size") or {})
    size = _pair(found.get("crop_size")) if found.get("do_center_crop") else None if covers else resize
    filtered = {_BILINEAR: "bilinear", _BICUBIC: "bicubic"}.get(found.get("resample"))
    if not found.get("do_resize") or found.get("do_pad") or resize is None or size is None or filtered is None:
        raise WeightsError(
            f"{type(processor).__name__}: has {', '.join(f'{name} {found.get(name)}' for name in _ASKED)}; it must "
            "resize (2, bilinear, or 3, bicubic) to height and width, or by its shortest edge and crop, and not pad"
        )
    white = 255 * (found["rescale_factor"] if found.get("do_rescale") else 1)  # what it becomes before normalising
    mean, std = (found["image_mean"], found["image_std"]) if found.get("do_normalize") else ((0.0,) * 3, (1.0,) * 3)
    return Preprocessing(
        resize=resize,
        mode="shortest" if covers else "squash",
        interpolation="bilinear" if filtered == "bilinear" else "bicubic",
        size=size,
        mean=tuple(value / white for value in mean),
        std=tuple(value / white for value in std),
        rest="floor",
    )


def _pair(size: Any) -> Size | None:
    """Height and width of a size as the library writes it, a shortest edge twice; None for any other."""
    given = {name: value for name, value in dict(size or {}).items() if value is not None}
    if set(given) == {"shortest_edge"}:
        return given["shortest_edge"], given["shortest_edge"]
    return (given["height"], given["width"]) if set(given) == {"height", "width"} else None


def _hold(processor: Any, settings: Preprocessing, folder: Path) -> None:
    """Raise ``WeightsError`` where ``preprocess`` and the processor make other pixels of a large or a small picture."""
    height, width = settings.resize
    for size in ((2 * height + 3, 3 * width), (height // 2 + 1, width // 3 + 2)):
        picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        theirs: Tensor = processor(images=[picture], input_data_format="channels_last", return_tensors="pt")[
            "pixel_values"
        ]
        ours = preprocess(torch.from_numpy(picture).permute(2, 0, 1)[None], settings)
        spread = 255 * torch.tensor(settings.std)[:, None, None]
        if theirs.shape != ours.shape or not ((theirs - ours).abs() * spread).max() <= _SAME:
            raise WeightsError(
                f"{folder}: {type(processor).__name__} makes other pixels of a picture of {size[0]} x {size[1]} than "
                "resizing, cropping and normalising do; give a model whose processor does no more"
            )
