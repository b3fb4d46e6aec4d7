"""Distances in a mask, exact to the last bit.

OpenCV's precise transform is fast, but its last bits change from call to call (5.0: about one call in a thousand, by
one unit in the last place), and one bit is enough to move a pasted patch. A squared distance between pixels is a whole
number, so rounding it to one gives the same bits every time.
"""

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

EXACT = 1e6  # squared px: below it float32 tells whole numbers apart with room to spare


def distance_px(inside: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """(H, W) Euclidean distance of each pixel that is not 0 to the nearest that is 0; infinite where all are not 0."""
    where = inside.astype(bool)
    if where.all():
        return np.full(where.shape, np.inf, np.float32)
    rough = cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    squared = np.square(rough, dtype=np.float64)
    if squared.max() >= EXACT:
        squared = np.square(ndimage.distance_transform_edt(where))
    exact: npt.NDArray[np.float32] = np.sqrt(np.rint(squared)).astype(np.float32)
    return exact
