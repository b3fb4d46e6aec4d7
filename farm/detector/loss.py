"""What a detector minimises: a loss for each thing that its network gives (``farm.detector.outputs``).

    pixels           focal loss of card 000, section 4: Lin et al., "Focal Loss for Dense Object Detection" (2017),
                     Eq. (4), FL = -(1 - p_t)^gamma log p_t, where p_t is the probability of the pixel's true class
    image            cross-entropy of "the label has a defect pixel"
    reconstruction   mean squared error and 1 - SSIM to the image without its defect (DRAEM, card 000, section 4)

Each is a mean over rows of equal size, so the loss of a batch is the mean of the losses of its equal parts, and
gradients of parts (workers, accumulation) average to the gradient of the whole.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from farm.detector.outputs import Outputs
from farm.ssim import similarity

GAMMA = 2.0
WINDOW_PX, SIGMA_PX = 11, 1.5  # of SSIM: Wang et al. 2004, with the constants of farm.facts for values in [0, 1]
C1, C2 = 0.01**2, 0.03**2


def detector_loss(found: Outputs, label_BHW: Tensor, source_B3HW: Tensor | None = None) -> Tensor:
    """The sum of the losses of all that ``found`` has, a scalar.

    ``label_BHW`` holds 0 (normal) and 1 (defect); ``source_B3HW``, pixels 0..255, is the image without its defect,
    asked for by a network that reconstructs.
    """
    loss = focal_loss(found.pixel_logits, label_BHW)
    if found.image_logit is not None:
        loss = loss + image_loss(found.image_logit, label_BHW)
    if found.reconstruction is not None:
        assert source_B3HW is not None, "a network that reconstructs learns from sources (DetectorConfig.reconstructs)"
        loss = loss + reconstruction_loss(found.reconstruction, source_B3HW / 255.0)
    return loss


def focal_loss(logits_B2HW: Tensor, label_BHW: Tensor, gamma: float = GAMMA) -> Tensor:
    """Mean focal loss over all pixels, a scalar; ``label_BHW`` holds 0 (normal) and 1 (defect)."""
    log_p_B2HW = F.log_softmax(logits_B2HW.float(), dim=1)
    log_pt_BHW = torch.gather(log_p_B2HW, 1, label_BHW.long()[:, None])[:, 0]
    return (-((1.0 - log_pt_BHW.exp()) ** gamma) * log_pt_BHW).mean()


def image_loss(logit_B: Tensor, label_BHW: Tensor) -> Tensor:
    """Mean cross-entropy of the image head over rows; a row is defective where any of its pixels is."""
    return F.binary_cross_entropy_with_logits(logit_B.float(), label_BHW.flatten(1).amax(dim=1).float())


def reconstruction_loss(found_B3HW: Tensor, wanted_B3HW: Tensor) -> Tensor:
    """Mean squared error plus 1 - mean SSIM of values in [0, 1]."""
    found_B3HW = found_B3HW.float()
    return F.mse_loss(found_B3HW, wanted_B3HW) + 1.0 - ssim_map(found_B3HW, wanted_B3HW).mean()


def ssim_map(first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
    """Structural similarity of values in [0, 1] at each pixel and channel; borders padded with 0, as DRAEM does."""
    likeness: Tensor = similarity(first_BCHW, second_BCHW, _smooth, C1, C2)
    return likeness


def _smooth(x_BCHW: Tensor) -> Tensor:
    """The Gaussian window, first down, then across."""
    channels = x_BCHW.shape[1]
    offsets = torch.arange(WINDOW_PX, device=x_BCHW.device, dtype=x_BCHW.dtype) - WINDOW_PX // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA_PX**2))
    line = (weights / weights.sum()).expand(channels, 1, WINDOW_PX)
    down = F.conv2d(x_BCHW, line[..., None], padding=(WINDOW_PX // 2, 0), groups=channels)
    return F.conv2d(down, line[:, :, None], padding=(0, WINDOW_PX // 2), groups=channels)
