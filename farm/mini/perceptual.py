"""Distance of two pictures in the features of EfficientNet-Lite0 (``farm.pretrained``)."""

from torch import Tensor, cat, nn

from farm.pretrained import efficientnet_lite0_features, scale_input


class Perceptual(nn.Module):
    """Mean squared distance of unit-length features at strides 2, 4 and 8 (LPIPS without learned weights)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = efficientnet_lite0_features((0, 1, 2)).requires_grad_(False)

    def forward(self, x_BCHW: Tensor, y_BCHW: Tensor) -> Tensor:
        """Both in [-1, 1] -> a scalar."""
        both = scale_input(cat([x_BCHW, y_BCHW]).add(1).mul(127.5))
        total = x_BCHW.new_zeros(())
        for feature in self.features(both):
            unit = nn.functional.normalize(feature.float(), dim=1, eps=1e-3)
            x, y = unit.chunk(2)
            total = total + (x - y).square().sum(dim=1).mean()
        return total
