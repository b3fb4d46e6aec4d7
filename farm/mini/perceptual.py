"""Two distances of pictures in the features of EfficientNet-Lite0 (``farm.pretrained``).

Place by place: LPIPS without learned weights (Zhang et al. 2018, arXiv 1801.03924, Eq. (1)). Texture: means and
spreads of each channel over the picture, as style losses compare them (Huang and Belongie 2017, arXiv 1703.06868,
Eq. (13)); it asks for grain of the right kind and amount, where a distance place by place rewards a smooth mean of all
possible grains.
"""

from torch import Tensor, cat, nn
from torch.nn import functional as F

from farm.pretrained import efficientnet_lite0_features, scale_input

_PLACES = 3  # strides 2, 4 and 8 are compared place by place


class Perceptual(nn.Module):
    """Distances (by place, texture) of two batches; pictures are enlarged by ``enlarge`` first."""

    def __init__(self, enlarge: float = 1.0) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.features = efficientnet_lite0_features().requires_grad_(False)

    def forward(self, x_BCHW: Tensor, y_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Both in [-1, 1], ``x`` the wanted one -> two scalars."""
        both = cat([x_BCHW, y_BCHW]).add(1).mul(127.5)
        if self.enlarge != 1:
            both = F.interpolate(both, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        place, texture = x_BCHW.new_zeros(()), x_BCHW.new_zeros(())
        for index, level in enumerate(self.features(scale_input(both))):
            wanted, found = level.float().chunk(2)
            if index < _PLACES:
                place = place + (_unit(wanted) - _unit(found)).square().sum(dim=1).mean()
            texture = texture + _statistics(wanted, found)
        return place, texture


def _unit(level: Tensor) -> Tensor:
    return F.normalize(level, dim=1, eps=1e-3)


def _statistics(wanted: Tensor, found: Tensor) -> Tensor:
    """Squared differences of channel means and spreads, in units of the channel's mean square over the batch."""
    scale = wanted.square().mean(dim=(0, 2, 3)) + 1e-6
    mean = wanted.mean(dim=(2, 3)) - found.mean(dim=(2, 3))
    spread = wanted.std(dim=(2, 3)) - found.std(dim=(2, 3))
    return ((mean.square() + spread.square()) / scale).mean()
