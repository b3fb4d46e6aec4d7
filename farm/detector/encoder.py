"""Pretrained encoders: pixels 0..255 → feature maps, finest first.

``efficientnet_lite0`` comes from its package; any other name is a model id of timm, with weights from the hub or from
a local safetensors file. A plain vision transformer (DINOv2 and the like) has one stride only: the maps of four evenly
spaced blocks are scaled by 4, 2, 1 and 1/2 into a pyramid (after Li et al. 2022, "Exploring Plain Vision Transformer
Backbones for Object Detection", arXiv 2203.16527, by interpolation), and its input up to whole patches.

Shape letters: B rows, C channels, H, W of the image, h, w of a map.
"""

from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from farm.config.run import PACKAGED_ENCODER
from farm.detector.encoder_file import NAME, encoder_file
from farm.errors import ConfigError, WeightsError
from farm.pretrained import INPUT_MEAN, INPUT_STD, efficientnet_lite0_features

SCALES = (4.0, 2.0, 1.0, 0.5)  # of a plain transformer's maps, from its first blocks to its last


class Encoder(nn.Module):
    """The feature maps of ``name``; it stays in evaluation mode, so that each row depends on itself alone."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, weights: str | None = None, pretrained: bool = True) -> None:
        """``weights`` is a safetensors file or its folder; None = the package's or the hub's.

        ``pretrained`` False leaves the weights as drawn: for a detector whose own weights are loaded next. Raises
        ``ConfigError`` for a model that is not known, ``WeightsError`` for weights that are missing or do not fit.
        """
        super().__init__()
        self.network = _Packaged() if name == PACKAGED_ENCODER else _Timm(name, weights, pretrained)
        self.channels: tuple[int, ...] = self.network.channels
        for buffer, values in (("mean", self.network.means), ("std", self.network.stds)):
            self.register_buffer(buffer, torch.tensor(values).reshape(-1, 1, 1), persistent=False)
        self.eval()

    def forward(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of falling size, with ``channels``."""
        x_B3HW = (pixels_B3HW.float() - self.mean) / self.std
        patch = self.network.patch
        if patch is None:
            maps: list[Tensor] = self.network(x_B3HW)
            return maps
        whole = [-(-side // patch) * patch for side in x_B3HW.shape[-2:]]
        found = self.network(F.interpolate(x_B3HW, size=whole, mode="bilinear", align_corners=False))
        sizes = [[max(1, int(side // patch * scale)) for side in whole] for scale in SCALES]
        return [
            F.interpolate(one, size=size, mode="bilinear", align_corners=False)
            for one, size in zip(found, sizes, strict=True)
        ]

    def train(self, mode: bool = True) -> "Encoder":  # noqa: ARG002
        """Stays in evaluation mode: BatchNorm keeps its statistics, and nothing is dropped."""
        return super().train(False)


class _Packaged(nn.Module):
    """EfficientNet-Lite0 of ``farm.pretrained``."""

    patch: int | None = None
    means, stds = (INPUT_MEAN,) * 3, (INPUT_STD,) * 3

    def __init__(self) -> None:
        super().__init__()
        self.network = efficientnet_lite0_features()
        self.channels = tuple(self.network.feature_info.channels())  # type: ignore[operator, union-attr]

    def forward(self, x_B3HW: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.network(x_B3HW)
        return found


class _Timm(nn.Module):
    """A model of timm without its head; of a plain transformer, four evenly spaced blocks."""

    def __init__(self, name: str, weights: str | None, pretrained: bool) -> None:
        super().__init__()
        config = _pretrained_config(name)
        self.means, self.stds = ([255.0 * value for value in values] for values in (config.mean, config.std))
        self.network = _whole(name, weights, pretrained, config.fixed_input_size)
        maps = list(self.network.feature_info)
        strides, self.places = {one["reduction"] for one in maps}, list(range(len(maps)))
        self.patch: int | None = None
        if len(strides) == 1:
            self.patch = strides.pop()
            self.places = [len(maps) * (quarter + 1) // len(SCALES) - 1 for quarter in range(len(SCALES))]
        self.channels = tuple(int(maps[place]["num_chs"]) for place in self.places)
        self.network.prune_intermediate_layers(self.places, prune_norm=True, prune_head=True)

    def forward(self, x_B3HW: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.network.forward_intermediates(
            x_B3HW, indices=self.places, output_fmt="NCHW", intermediates_only=True
        )
        return found


def _pretrained_config(name: str) -> Any:
    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=False)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"train.detector.encoder: '{name}' is no model id of timm {timm.__version__} ({error}); use "
            f"{PACKAGED_ENCODER}, or e.g. vit_small_patch14_dinov2.lvd142m, with a local file in encoder_weights"
        ) from error


def _whole(name: str, weights: str | None, pretrained: bool, fixed: bool) -> Any:
    """The classifier with all its tensors loaded, none missing, none left over."""
    options: dict[str, Any] = {"dynamic_img_size": True} if fixed else {}
    options["pretrained_cfg_overlay"] = {"hf_hub_filename": NAME}
    where = f"the hub's {name}" if weights is None else str(encoder_file(weights)) if pretrained else ""
    try:
        if pretrained and weights is not None:
            options["pretrained_cfg_overlay"] = {"state_dict": load_file(encoder_file(weights))}
        return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError as error:
        raise ConfigError(
            f"train.detector.encoder: {name} takes pictures of one size only ({error}); use another model"
        ) from error
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{where}: cannot be loaded as {name} ({reason}); give the safetensors of this very model in "
            "train.detector.encoder_weights, a file or a folder"
        ) from error
