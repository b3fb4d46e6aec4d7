"""What a detector minimises: the focal loss of card 000, section 4.

Lin et al., "Focal Loss for Dense Object Detection" (2017), Eq. (4): FL = -(1 - p_t)^gamma log p_t, where p_t is the
probability of the pixel's true class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GAMMA = 2.0


def focal_loss(logits_B2HW: Tensor, label_BHW: Tensor, gamma: float = GAMMA) -> Tensor:
    """Mean focal loss over all pixels, a scalar; ``label_BHW`` holds 0 (normal) and 1 (defect).

    The mean over rows of equal size is the mean of the rows' means, so gradients of equal parts of a batch average to
    the gradient of the whole.
    """
    log_p_B2HW = F.log_softmax(logits_B2HW.float(), dim=1)
    log_pt_BHW = torch.gather(log_p_B2HW, 1, label_BHW.long()[:, None])[:, 0]
    return (-((1.0 - log_pt_BHW.exp()) ** gamma) * log_pt_BHW).mean()
