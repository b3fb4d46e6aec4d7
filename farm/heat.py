"""How a heat map is coloured, on the report's page and beside a photograph alike."""

import numpy as np
import numpy.typing as npt


def heat_colours(share: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """RGBA in [0, 1], (..., 4), of values in [0, 1] (...): clear at 0, then violet over orange to pale yellow."""
    from matplotlib import colormaps

    values = np.asarray(share, np.float64)
    colours: npt.NDArray[np.float64] = colormaps["inferno"](0.15 + 0.85 * values)
    colours[..., 3] = 0.85 * values**1.5
    return colours
