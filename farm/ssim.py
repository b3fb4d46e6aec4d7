"""Structural similarity of arrays or tensors: Wang et al. 2004, "From Error Visibility to Structural Similarity"."""

from collections.abc import Callable
from typing import Any


def similarity(first: Any, second: Any, smooth: Callable[[Any], Any], c1: float, c2: float) -> Any:
    """Eq. (13) at each pixel of two arrays or tensors of one shape; ``smooth`` is the local mean, 1 = identical."""
    mean_1, mean_2 = smooth(first), smooth(second)
    variance_1 = smooth(first * first) - mean_1 * mean_1
    variance_2 = smooth(second * second) - mean_2 * mean_2
    covariance = smooth(first * second) - mean_1 * mean_2
    likeness = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return likeness / ((mean_1 * mean_1 + mean_2 * mean_2 + c1) * (variance_1 + variance_2 + c2))
